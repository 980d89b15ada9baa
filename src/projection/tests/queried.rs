//! Queried: a store with views that tests put into it, and an engine that answers from it.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{collections::BTreeMap, path::Path, sync::Arc};

use projection::{
    manifest::{Projection, ProjectionManifest},
    program::dag::DagProgram,
    quarantine::PoisonPolicy,
    query::{Answer, CursorKey, Query, QueryEngine, QueryError, QueryLimits},
    settings::{Durability, Engine},
    storage::{Part, StoreOptions, ViewStore},
    types::{CHECKPOINT_FORMAT, Checkpoint, StoredView, TenantId, ViewKey, ViewTable},
};
use serde_json::{Value, json};

/// A store with one table, `thing`.
pub(crate) struct Queried {
    pub(crate) store: Arc<ViewStore>,
    pub(crate) engine: QueryEngine,
    floor: Option<u64>,
}

pub(crate) fn table() -> ViewTable {
    ViewTable {
        view_type: "thing".into(),
        generation: 1,
    }
}

/// The manifest of `thing`, which has these indexes.
pub(crate) fn manifest(indexes: &[&str]) -> ProjectionManifest {
    let program = json!({"language": "dag/v1", "key": {"event": "aggregate_id"}, "view": {"event": "payload"}});
    let compiled = DagProgram::compile(&program, 1_000).expect("a program");
    ProjectionManifest::of(vec![Projection {
        table: table(),
        program: Arc::new(compiled),
        text: None,
        policy: PoisonPolicy::ParkKey,
        indexes: indexes
            .iter()
            .map(|path| path.parse().expect("a path"))
            .collect(),
    }])
}

pub(crate) fn at(floor: u64) -> Checkpoint {
    Checkpoint {
        format: CHECKPOINT_FORMAT,
        stream: "EVENTS".to_owned(),
        stream_created: 1,
        filter_hash: String::new(),
        program_hash: String::new(),
        floor,
        published: Some(1),
    }
}

pub(crate) fn open(folder: &Path, engine: Engine) -> Arc<ViewStore> {
    let options = StoreOptions {
        engine,
        bytes_max: 1 << 30,
        durability: Durability::Commit,
    };
    Arc::new(ViewStore::open(folder, options).expect("a store"))
}

impl Queried {
    pub(crate) fn open(folder: &Path, engine: Engine, indexes: &[&str]) -> Self {
        Self::with_limits(folder, engine, indexes, QueryLimits::default())
    }

    pub(crate) fn with_limits(
        folder: &Path,
        engine: Engine,
        indexes: &[&str],
        limits: QueryLimits,
    ) -> Self {
        let store = open(folder, engine);
        let manifest = manifest(indexes);
        let fields = &manifest.projections()[0].indexes;
        store
            .declare_indexes(&table(), fields)
            .expect("declared indexes");
        let floor = store.snapshot().expect("a snapshot").checkpoint(&table());
        let floor = floor.expect("a checkpoint").map(|stored| stored.floor);
        let key = CursorKey::of_secret("s");
        Self {
            engine: QueryEngine::new(manifest, Arc::clone(&store), limits, key),
            store,
            floor,
        }
    }

    /// Writes views, or removes them, as the next event would.
    pub(crate) fn put(&mut self, views: &BTreeMap<(String, String), Option<Value>>) {
        let next = self.floor.unwrap_or(0) + 1;
        let mut part = Part::new(table(), self.floor, at(next));
        for ((tenant, id), view) in views {
            let key = key(tenant, id);
            let stored = view.as_ref().map(|view| StoredView {
                view: view.clone(),
                last_seq: next,
                applied: 1,
                program: "p".to_owned(),
            });
            part.put(&key, stored.map(|stored| stored.encode()));
        }
        self.store.commit(&part.into()).expect("a commit");
        self.floor = Some(next);
    }

    /// Writes views of the tenant without a name.
    pub(crate) fn put_all(&mut self, views: &[(&str, Value)]) {
        let views = views
            .iter()
            .map(|(id, view)| ((String::new(), (*id).to_owned()), Some(view.clone())));
        self.put(&views.collect());
    }

    pub(crate) fn ask(&self, tenant: &str, query: &Value) -> Result<Answer, QueryError> {
        let query = Query::from_value(query)?;
        self.engine.query_now(&TenantId::from(tenant), &query)
    }

    /// All pages of a query, at most `pages_max` of them.
    pub(crate) fn pages(&self, tenant: &str, query: &Value) -> Vec<Answer> {
        /// Far more than any test asks for, so running into it means that pages do not come to an end.
        const PAGES_MAX: usize = 2_000;
        let mut query = query.clone();
        let mut pages = Vec::new();
        loop {
            let page = self.ask(tenant, &query).expect("a page");
            let next = page.next_cursor.clone();
            pages.push(page);
            match next {
                None => return pages,
                Some(cursor) => query["cursor"] = json!(cursor),
            }
            assert!(pages.len() < PAGES_MAX, "{query} has no end");
        }
    }
}

pub(crate) fn key(tenant: &str, id: &str) -> ViewKey {
    ViewKey::new(tenant.into(), "thing".into(), id.into()).expect("a key")
}

/// The ids of all rows of all pages.
pub(crate) fn ids(pages: &[Answer]) -> Vec<String> {
    let rows = pages.iter().flat_map(|page| &page.rows);
    rows.map(|row| row.id.to_string()).collect()
}
