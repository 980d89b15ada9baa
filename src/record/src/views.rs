//! The views of a record: a projection node in this process, which folds what is published and answers while the run goes on.
//!
//! It ends with the process, however that ends; what it committed is on the disk.

use std::{collections::BTreeMap, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use projection::{
    health::Health,
    http::{Server, ops},
    manifest::ProjectionManifest,
    pipeline::{ShardOptions, ShardState, ShardStatus},
    query::{self, CursorKey, QueryEngine, http::Authority},
    rebuild::{JetStreamSources, Node, NodeMode},
    settings::Settings,
    storage::{StoreOptions, ViewStore},
};
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use trellis_bootstrap::{DynError, Progress, in_one_line};
use trellis_domain::RunId;

use crate::{
    MANIFEST, RecordError,
    publisher::{STREAM, subjects},
};

/// In the folder of a record: the views, and what makes and asks for them.
const VIEWS: &str = "views";
const MANIFEST_FILE: &str = "manifest.yaml";
const SETTINGS_FILE: &str = "projection.json";

/// How large the views may grow; the file grows with what is in it.
const BYTES_MAX: u64 = 4 << 30;
/// How long the last commit may take, and answers that were begun before the end.
const ENDS_WITHIN: Duration = Duration::from_secs(8);

/// Writes down how the views of `run` are made and asked for, as the `projection` command understands it, too.
pub(crate) fn describe(folder: &Path, run: &RunId, nats_url: &str) -> Result<(), RecordError> {
    // Whoever reads it may do so from another folder.
    let folder = &std::path::absolute(folder)
        .map_err(|source| RecordError::files("find", folder, source))?;
    let settings = json!({
        "nats_url": nats_url,
        "stream": STREAM,
        "subjects": [subjects(run)],
        "storage_path": folder.join(VIEWS),
        "storage_bytes_max": BYTES_MAX,
        "manifest": folder.join(MANIFEST_FILE),
        "default_tenant": run.as_str(),
        "http_listen": "127.0.0.1:0",
    });
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|source| RecordError::files("write", &path, source))
    };
    write(MANIFEST_FILE, MANIFEST)?;
    write(SETTINGS_FILE, &format!("{settings:#}\n"))
}

/// What was written down in `folder`.
fn described(folder: &Path) -> Result<(Settings, ProjectionManifest), DynError> {
    let mut settings = Settings::load(Some(&folder.join(SETTINGS_FILE)), &BTreeMap::new())?;
    // The folder may have been moved since.
    settings.storage_path = folder.join(VIEWS);
    settings.manifest = folder.join(MANIFEST_FILE);
    let manifest = ProjectionManifest::load(&settings.manifest, settings.gas_max)?;
    Ok((settings, manifest))
}

/// Answers from the views in `folder`, which nobody writes any more.
pub(crate) fn stored(folder: &Path) -> Result<QueryEngine, DynError> {
    let (settings, manifest) = described(folder)?;
    let store = ViewStore::open_to_read(&settings.storage_path)?;
    // Whoever can read the folder can read all of it, so a cursor need only be told from that of another one.
    let key = CursorKey::of_secret(&folder.to_string_lossy());
    Ok(QueryEngine::new(
        manifest,
        Arc::new(store),
        settings.query_limits,
        key,
    ))
}

/// The projection node of one record.
pub(crate) struct Views {
    address: SocketAddr,
    status: watch::Receiver<ShardStatus>,
    stop: CancellationToken,
    ended: CancellationToken,
    working: JoinHandle<()>,
    tasks: TaskTracker,
}

impl Views {
    /// Starts the node that is described in `folder`.
    ///
    /// # Errors
    /// The store or the address cannot be used.
    pub(crate) async fn start(
        folder: &Path,
        progress: Arc<dyn Progress>,
    ) -> Result<Self, RecordError> {
        Self::begin(folder, progress)
            .await
            .map_err(RecordError::Views)
    }

    async fn begin(folder: &Path, progress: Arc<dyn Progress>) -> Result<Self, DynError> {
        let (settings, manifest) = described(folder)?;
        let store = Arc::new(ViewStore::open(
            &settings.storage_path,
            StoreOptions {
                engine: settings.storage_engine,
                bytes_max: settings.storage_bytes_max,
                durability: settings.durability,
            },
        )?);
        let (sources, probe) = JetStreamSources::of_node(&settings).await?;
        let options = ShardOptions::of(&settings);
        let (node, handle) = Node::new(
            manifest.clone(),
            Arc::clone(&store),
            Arc::new(sources),
            &settings,
            NodeMode::Serving,
        );
        let node = node.with_shard_options(options.clone()).staying();
        let health = Health::new(
            &settings,
            manifest.clone(),
            Arc::clone(&store),
            handle.status(),
            handle.progress(),
            Arc::clone(options.metrics()),
        );
        let engine = QueryEngine::watching(
            manifest,
            store,
            settings.query_limits,
            CursorKey::of(&settings),
            handle.status(),
        );
        let server = Server::bind(settings.http_listen).await?;
        let server = server.ok_or("the node of a record answers HTTP")?;
        let address = server.address();
        let server = server
            .mount(ops::routes(Arc::clone(&health) as _))
            .mount(query::http::routes(engine, Authority::of(&settings)));
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let tasks = TaskTracker::new();
        tasks.spawn(health.observe(probe, ended.clone()));
        tasks.spawn(server.serve(ended.clone()));
        tasks.spawn(tell_of_trouble(
            handle.status(),
            ended.clone(),
            Arc::clone(&progress),
        ));
        let stopping = stop.clone();
        let working = tokio::spawn(async move {
            if let Err(error) = node.run(&stopping).await {
                let why = in_one_line(&error);
                progress.note(&format!("the views of the record do not go on: {why}"));
            }
        });
        Ok(Self {
            address,
            status: handle.status(),
            stop,
            ended,
            working,
            tasks,
        })
    }

    /// Where it is asked.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until everything up to the event `sequence` is in the views, and says whether it is.
    pub(crate) async fn reached(&self, sequence: u64, within: Duration) -> bool {
        let mut status = self.status.clone();
        let reached = status.wait_for(|status| status.has_reached(sequence));
        matches!(timeout(within, reached).await, Ok(Ok(_)))
    }

    /// Ends it; what was folded is on the disk then.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        // What hangs in storage ends with the process.
        let _ = timeout(ENDS_WITHIN, self.working).await;
        self.ended.cancel();
        self.tasks.close();
        let _ = timeout(ENDS_WITHIN, self.tasks.wait()).await;
    }
}

/// Says when the views do not go on, which may be long before anybody asks for them.
async fn tell_of_trouble(
    mut status: watch::Receiver<ShardStatus>,
    ended: CancellationToken,
    progress: Arc<dyn Progress>,
) {
    let mut told = None;
    loop {
        let trouble = trouble(&status.borrow_and_update());
        if trouble != told {
            if let Some(trouble) = &trouble {
                progress.note(&format!("the views of the record do not go on: {trouble}"));
            }
            told = trouble;
        }
        let changed = tokio::select! {
            changed = status.changed() => changed,
            () = ended.cancelled() => return,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// What does not pass by itself. That the server is away is told by whoever publishes.
fn trouble(status: &ShardStatus) -> Option<String> {
    if let Some(trouble) = &status.storage_trouble {
        return Some(trouble.clone());
    }
    if status.state != ShardState::Blocked {
        return None;
    }
    let mut blocked = status.projections.values();
    blocked.find_map(|state| Some(state.blocked.as_ref()?.to_string()))
}
