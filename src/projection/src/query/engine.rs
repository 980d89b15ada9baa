//! The engine: queries on the views of one store, for whoever has a tenant's scope.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, watch},
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{
    Answer, Consistency, CursorKey, Got, Query, QueryError, QueryLimits,
    answer::Row,
    budget::{Budget, asked_at_most},
    cursor::Cursor,
    plan::plans,
    run::Run,
    stale::mark_stale,
};
use crate::{
    manifest::ProjectionManifest,
    pipeline::{ShardState, ShardStatus},
    quarantine::PoisonPolicy,
    storage::{Snapshot, StorageError, ViewStore},
    stream::BlockedReason,
    types::{FieldPath, TenantId, TenantScope, ViewId, ViewKey, ViewTable},
};

/// How many views are answered where a query does not say, if that many are allowed.
pub(crate) const LIMIT: usize = 50;

/// Answers queries on the views of one store. Cheap to clone.
#[derive(Clone)]
pub struct QueryEngine {
    inner: Arc<Inner>,
}

struct Inner {
    manifest: ProjectionManifest,
    store: Arc<ViewStore>,
    limits: QueryLimits,
    key: CursorKey,
    status: Option<watch::Receiver<ShardStatus>>,
    running: Arc<Semaphore>,
}

impl QueryEngine {
    /// Answers from `store`, where the projections of `manifest` write; `key` signs cursors.
    pub fn new(
        manifest: ProjectionManifest,
        store: Arc<ViewStore>,
        limits: QueryLimits,
        key: CursorKey,
    ) -> Self {
        Self::build(manifest, store, limits, key, None)
    }

    /// The same beside the shard that writes, so that its events can be waited for.
    pub fn watching(
        manifest: ProjectionManifest,
        store: Arc<ViewStore>,
        limits: QueryLimits,
        key: CursorKey,
        status: watch::Receiver<ShardStatus>,
    ) -> Self {
        Self::build(manifest, store, limits, key, Some(status))
    }

    fn build(
        manifest: ProjectionManifest,
        store: Arc<ViewStore>,
        limits: QueryLimits,
        key: CursorKey,
        status: Option<watch::Receiver<ShardStatus>>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                manifest,
                store,
                limits,
                key,
                status,
                running: Arc::new(Semaphore::new(limits.queries_max)),
            }),
        }
    }

    /// Answers `query` from the views of `tenant`.
    ///
    /// # Errors
    /// What is wrong with the query, or why it cannot be answered.
    ///
    /// # Cancel safety
    /// Dropping loses nothing; what is being read is read to the end of its budget.
    pub async fn query(&self, tenant: &TenantId, query: &Query) -> Result<Answer, QueryError> {
        self.inner.wait(&query.view, &query.consistency).await?;
        let (inner, tenant, query) = (Arc::clone(&self.inner), tenant.clone(), query.clone());
        self.reading(move || inner.answer(&TenantScope::new(&tenant), &query))
            .await
    }

    /// The same at once, on this thread, whatever events are not in the views yet.
    ///
    /// # Errors
    /// As [`QueryEngine::query`].
    pub fn query_now(&self, tenant: &TenantId, query: &Query) -> Result<Answer, QueryError> {
        self.inner.answer(&TenantScope::new(tenant), query)
    }

    /// The view `id` of `tenant`, wholly or only its `fields`.
    ///
    /// # Errors
    /// As [`QueryEngine::query`]. That there is no such view is an answer.
    pub async fn get(
        &self,
        tenant: &TenantId,
        view: &str,
        id: &ViewId,
        fields: Option<Vec<FieldPath>>,
        consistency: &Consistency,
    ) -> Result<Got, QueryError> {
        self.inner.wait(view, consistency).await?;
        let (inner, view) = (Arc::clone(&self.inner), view.to_owned());
        let (tenant, id, min_seq) = (tenant.clone(), id.clone(), consistency.min_seq);
        self.reading(move || inner.get(&view, tenant, id, fields.as_deref(), min_seq))
            .await
    }

    /// Reads on a thread that may block, as one of a few.
    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let limits = &self.inner.limits;
        let busy = QueryError::Busy {
            queries_max: limits.queries_max,
        };
        let permit = Arc::clone(&self.inner.running).acquire_owned();
        let Ok(permit) = timeout(limits.within, permit).await else {
            return Err(busy);
        };
        let permit = permit.expect("the semaphore is never closed");
        // Held until the reading ends, also where nobody waits for it any more.
        let reading = spawn_blocking(move || {
            let _permit = permit;
            read()
        });
        reading.await.expect("a query does not panic")
    }
}

impl Inner {
    /// Where the views are that are called `view`: a type, whose served generation is meant, or a type and a generation.
    fn served(&self, view: &str, snapshot: &Snapshot<'_>) -> Result<Served, QueryError> {
        let all = self.manifest.projections();
        let of_type = |view_type: &str| {
            let mut named = all.iter();
            named.find(|projection| projection.table.view_type.as_str() == view_type)
        };
        if let Some(projection) = of_type(view) {
            let table = snapshot.served_table(&projection.table.view_type)?;
            return Ok(Served {
                table: table.unwrap_or_else(|| projection.table.clone()),
                policy: projection.policy,
            });
        }
        if let Some((view_type, generation)) = view.rsplit_once('@')
            && let (Some(projection), Ok(generation)) = (of_type(view_type), generation.parse())
        {
            let table = ViewTable {
                view_type: projection.table.view_type.clone(),
                generation,
            };
            let generations = snapshot.generations(&table.view_type)?;
            let kept = generations.is_some_and(|all| all.kept.contains_key(&generation));
            if kept || all.iter().any(|projection| projection.table == table) {
                return Ok(Served {
                    table,
                    policy: projection.policy,
                });
            }
        }
        let known = all
            .iter()
            .map(|projection| projection.table.view_type.to_string());
        Err(QueryError::UnknownView {
            view: view.to_owned(),
            known: known.collect::<BTreeSet<_>>().into_iter().collect(),
        })
    }

    fn answer(&self, scope: &TenantScope, query: &Query) -> Result<Answer, QueryError> {
        let snapshot = self.store.snapshot()?;
        let served = self.served(&query.view, &snapshot)?;
        let table = &served.table;
        let limit = asked_at_most("limit", query.limit, self.limits.limit_max)?;
        let context = context(table, scope, query);
        let cursor = match &query.cursor {
            None => None,
            Some(text) => {
                Some(Cursor::read(text, &self.key, &context).ok_or(QueryError::CursorRefused)?)
            }
        };
        let checkpoint = floor(&snapshot, table, query.consistency.min_seq)?;
        let plans = plans(query, &snapshot, table, scope)?;
        let plan = match &cursor {
            None => plans.first(),
            Some(cursor) => plans.iter().find(|plan| plan.name() == cursor.plan),
        };
        let plan = plan.ok_or(QueryError::CursorOutdated {
            why: "the index that it goes through is gone",
        })?;
        let cursor = cursor.unwrap_or_default();
        let again = cursor.after.is_some();
        let mut budget = Budget::new(&self.limits, &query.budget, again)?;
        let run = Run {
            query,
            snapshot: &snapshot,
            table,
            scope,
            plan,
            limit: query.limit.map_or(LIMIT.min(limit), |_| limit),
        };
        let mut found = run.go(&cursor, &mut budget)?;
        served.mark(&mut found.rows, &found.keys, &snapshot, scope)?;
        Ok(Answer {
            rows: found.rows,
            partial: found.partial,
            next_cursor: found.next.map(|next| next.write(&self.key, &context)),
            scanned: budget.looked(),
            checkpoint,
            lag: self.lag(),
            rebuilding: snapshot.rebuilding(table)?,
            explain: query.explain.then(|| plan.explained(&plans)),
        })
    }

    fn get(
        &self,
        view: &str,
        tenant: TenantId,
        id: ViewId,
        fields: Option<&[FieldPath]>,
        min_seq: Option<u64>,
    ) -> Result<Got, QueryError> {
        let snapshot = self.store.snapshot()?;
        let served = self.served(view, &snapshot)?;
        let table = &served.table;
        let scope = TenantScope::new(&tenant);
        let key = ViewKey::new(tenant, table.view_type.clone(), id);
        let key = key.map_err(|source| QueryError::Id { source })?;
        let checkpoint = floor(&snapshot, table, min_seq)?;
        let stored = snapshot.view_bytes(table, &key)?;
        let row = stored.map(|bytes| Row::read(key.id().clone(), &bytes, fields));
        let mut rows: Vec<Row> = row.transpose()?.into_iter().collect();
        let in_table = scope.in_table(key.id());
        let id = in_table.as_bytes()[scope.prefix().len()..].to_vec();
        served.mark(&mut rows, &[id], &snapshot, &scope)?;
        Ok(Got {
            row: rows.pop(),
            checkpoint,
            lag: self.lag(),
            rebuilding: snapshot.rebuilding(table)?,
        })
    }

    fn lag(&self) -> Option<u64> {
        self.status.as_ref().map(|status| status.borrow().pending)
    }

    /// Waits until the views called `view` are as far as they must be; not longer than is allowed, and not where they do not go on.
    async fn wait(&self, view: &str, consistency: &Consistency) -> Result<(), QueryError> {
        let Some(min_seq) = consistency.min_seq else {
            return Ok(());
        };
        let Served { table, .. } = self.served(view, &self.store.snapshot()?)?;
        let table = &table;
        let allowed = self.limits.wait_max;
        let within = asked_at_most("consistency.within_ms", consistency.within, allowed)?;
        let Some(status) = &self.status else {
            // Nobody tells when they come further; whoever reads finds out how far they are.
            return Ok(());
        };
        let since = Instant::now();
        let mut status = status.clone();
        let reached = status.wait_for(|status| {
            floor_of(status, table) >= min_seq || stalled(status, table, min_seq).is_some()
        });
        let ended = matches!(timeout(within, reached).await, Ok(Err(_)));
        let status = status.borrow();
        let checkpoint = floor_of(&status, table);
        if checkpoint >= min_seq {
            return Ok(());
        }
        let gone = || ended.then(|| "the shard has ended".to_owned());
        Err(match stalled(&status, table, min_seq).or_else(gone) {
            Some(why) => QueryError::Stalled {
                min_seq,
                checkpoint,
                why,
            },
            None => QueryError::Behind {
                min_seq,
                checkpoint,
                waited: since.elapsed(),
            },
        })
    }
}

/// Where the views are that a query is answered from.
struct Served {
    table: ViewTable,
    policy: PoisonPolicy,
}

impl Served {
    /// Marks rows that are stale. Only a parked view misses events that it is going to get.
    fn mark(
        &self,
        rows: &mut [Row],
        keys: &[Vec<u8>],
        snapshot: &Snapshot<'_>,
        scope: &TenantScope,
    ) -> Result<(), StorageError> {
        if self.policy == PoisonPolicy::ParkKey {
            mark_stale(rows, keys, snapshot, &self.table, scope)?;
        }
        Ok(())
    }
}

fn floor_of(status: &ShardStatus, table: &ViewTable) -> u64 {
    status.projections.get(table).map_or(0, |state| state.floor)
}

/// Why the views of `table` will not come to `min_seq`; `None` where they may.
fn stalled(status: &ShardStatus, table: &ViewTable, min_seq: u64) -> Option<String> {
    let blocked = status.projections.get(table);
    match blocked.and_then(|state| state.blocked.as_ref()) {
        // What is before the event is still on its way into the store when this is first said.
        Some(BlockedReason::Poison { sequence, .. }) if *sequence > min_seq => None,
        // So is the batch that had too many.
        Some(BlockedReason::TooManyParked { .. }) => None,
        Some(reason) => Some(reason.to_string()),
        None => match &status.state {
            ShardState::Blocked => Some("the shard is blocked".to_owned()),
            ShardState::Stopped => Some("the shard has stopped".to_owned()),
            _ => None,
        },
    }
}

/// How far the views of a snapshot are, if that is far enough.
fn floor(
    snapshot: &Snapshot<'_>,
    table: &ViewTable,
    min_seq: Option<u64>,
) -> Result<u64, QueryError> {
    let checkpoint = snapshot.checkpoint(table)?;
    let checkpoint = checkpoint.map_or(0, |checkpoint| checkpoint.floor);
    match min_seq {
        Some(min_seq) if checkpoint < min_seq => Err(QueryError::Behind {
            min_seq,
            checkpoint,
            waited: Duration::ZERO,
        }),
        _ => Ok(checkpoint),
    }
}

/// What a cursor belongs to.
fn context(table: &ViewTable, scope: &TenantScope, query: &Query) -> Vec<u8> {
    // The tenant's part and the table's are escaped, so that neither can pass for a piece of the other.
    format!("{}{table}\n{}", scope.prefix(), query.essence).into_bytes()
}
