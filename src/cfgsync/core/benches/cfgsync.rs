//! Benchmark: nodes that register and fetch, against a bare handler that answers with bodies of the same size.
//!
//! Both sides get the same requests from the same clients, in turns within one run, so that a busy machine slows them
//! alike. Bodies are served from what is known beforehand, and from what is made of the registrations; how often it
//! was made is counted. Only `cargo bench` measures in full: it passes `--bench`, which `cargo test` does not.
//! Without it, or with `--test`, there is one tiny pass. All other arguments are ignored.

use std::{
    error::Error,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, http::StatusCode, routing::post};
use cfgsync_adapter::{
    CachedSnapshotMaterializer, DynCfgsyncError, NodeArtifacts, NodeArtifactsCatalog,
    RegistrationSnapshot, RegistrationSnapshotMaterializer, SnapshotConfigSource,
};
use cfgsync_artifacts::{ArtifactFile, ArtifactSet};
use cfgsync_core::{
    CfgsyncServerState, NodeArtifactsPayload, NodeConfigSource, NodeRegistration,
    StaticConfigSource, bind_loopback, serve_cfgsync,
};
use reqwest::Client;
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Each keeps one connection and has one request under way.
const WORKERS: usize = 64;
/// Of a node's configuration, about.
const FILE_BYTES: usize = 2_000;

/// How much to measure.
#[derive(Clone, Copy)]
struct Effort {
    node_counts: &'static [usize],
    rounds: usize,
}

const FULL: Effort = Effort {
    node_counts: &[1_000, 10_000],
    rounds: 11,
};

const TINY: Effort = Effort {
    node_counts: &[10],
    rounds: 1,
};

fn main() -> Outcome {
    let given = |flag: &str| std::env::args().any(|argument| argument == flag);
    let tiny = given("--test") || !given("--bench");
    let effort = if tiny { TINY } else { FULL };
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        println!(
            "nodes  source        cfgsync/s   bare/s   ratio   made (median of {} rounds)",
            effort.rounds
        );
        for &count in effort.node_counts {
            compare(Kind::Static, count, effort.rounds).await?;
            compare(Kind::Registered, count, effort.rounds).await?;
        }
        Ok(())
    })
}

/// Where the served bodies come from.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Known beforehand.
    Static,
    /// Made of the registrations, once for a version.
    Registered,
}

async fn compare(kind: Kind, count: usize, rounds: usize) -> Outcome {
    let requests: Arc<[Bytes]> = (0..count).map(request).collect::<Result<_, _>>()?;
    let clients: Vec<Client> = (0..WORKERS).map(|_| client()).collect::<Result<_, _>>()?;
    let bare = bare(&payload(0)?).await?;
    // Both sides are measured over connections that are there.
    register_and_fetch(&clients, &bare, &requests).await?;

    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    let mut ratios = Vec::new();
    let mut made = 0;
    for round in 0..rounds {
        // A server for each round: each node registers as a new one.
        let cfgsync = cfgsync(kind, count).await?;
        connect(&clients, &cfgsync.url).await?;
        let measure = async |url: &str| register_and_fetch(&clients, url, &requests).await;
        let (a, b) = if round % 2 == 0 {
            let a = measure(&cfgsync.url).await?;
            (a, measure(&bare).await?)
        } else {
            let b = measure(&bare).await?;
            (measure(&cfgsync.url).await?, b)
        };
        made = cfgsync
            .made
            .as_ref()
            .map_or(0, |made| made.materializations());
        ratios.push(b.as_secs_f64() / a.as_secs_f64());
        ours.push(rate(count, a));
        theirs.push(rate(count, b));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "{count:>5}  {:<12}  {ours:>9.0}   {theirs:>6.0}   {:>5.2}   {made} times",
        format!("{kind:?}"),
        median(ratios)
    );
    Ok(())
}

/// Makes the connection that each client keeps.
async fn connect(clients: &[Client], url: &str) -> Outcome {
    for client in clients {
        let response = client.get(format!("{url}/healthz")).send().await?;
        response.bytes().await?;
    }
    Ok(())
}

/// All nodes register, then all fetch; how long both took.
async fn register_and_fetch(
    clients: &[Client],
    url: &str,
    requests: &Arc<[Bytes]>,
) -> Outcome<Duration> {
    let started = Instant::now();
    for (path, expected) in [("register", 202), ("node", 200)] {
        let mut workers = JoinSet::new();
        for (index, client) in clients.iter().enumerate() {
            let url = format!("{url}/{path}");
            workers.spawn(work(
                client.clone(),
                url,
                Arc::clone(requests),
                index,
                expected,
            ));
        }
        while let Some(worked) = workers.join_next().await {
            worked??;
        }
    }
    Ok(started.elapsed())
}

/// Every so many-th request, one after the other.
async fn work(
    client: Client,
    url: String,
    requests: Arc<[Bytes]>,
    first: usize,
    expected: u16,
) -> Outcome {
    for request in requests.iter().skip(first).step_by(WORKERS) {
        let request = client
            .post(&url)
            .header("content-type", "application/json")
            .body(request.clone());
        let response = request.send().await?;
        if response.status() != expected {
            return Err(format!("{url} answered {}", response.status()).into());
        }
        response.bytes().await?;
    }
    Ok(())
}

/// A server that ends with its round.
struct Serving {
    url: String,
    task: AbortHandle,
    made: Option<Arc<SnapshotConfigSource>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The same bodies as those that are known beforehand.
struct Application {
    nodes: usize,
}

impl RegistrationSnapshotMaterializer for Application {
    fn materialize_snapshot(
        &self,
        registrations: &RegistrationSnapshot,
    ) -> Result<Option<NodeArtifactsCatalog>, DynCfgsyncError> {
        if registrations.len() < self.nodes {
            return Ok(None);
        }
        let nodes = registrations.iter().map(|node| NodeArtifacts {
            identifier: node.identifier.clone(),
            files: vec![file(&node.identifier)],
        });
        Ok(Some(NodeArtifactsCatalog::new(nodes.collect())))
    }
}

async fn cfgsync(kind: Kind, count: usize) -> Outcome<Serving> {
    let (source, made): (Arc<dyn NodeConfigSource>, _) = match kind {
        Kind::Static => {
            let payloads = (0..count).map(|index| Ok((name(index), payload(index)?)));
            let payloads = payloads.collect::<Outcome<Vec<_>>>()?;
            (Arc::new(StaticConfigSource::new(payloads)), None)
        }
        Kind::Registered => {
            let application = CachedSnapshotMaterializer::new(Application { nodes: count });
            let source = Arc::new(SnapshotConfigSource::new(application));
            (Arc::clone(&source) as _, Some(source))
        }
    };
    let listener = bind_loopback(0).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let state = CfgsyncServerState::new(source);
    let served = tokio::spawn(serve_cfgsync(listener, state, std::future::pending()));
    let task = served.abort_handle();
    Ok(Serving { url, task, made })
}

/// Reads what it is sent, and has its answer ready.
async fn bare(payload: &NodeArtifactsPayload) -> Outcome<String> {
    let body = Bytes::from(serde_json::to_vec(payload)?);
    let node = move |_: Bytes| async move { ([("content-type", "application/json")], body) };
    let router = Router::new()
        .route("/register", post(async |_: Bytes| StatusCode::ACCEPTED))
        .route("/node", post(node));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

fn client() -> reqwest::Result<Client> {
    Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(1)
        .build()
}

fn name(index: usize) -> String {
    format!("node-{index:05}")
}

fn request(index: usize) -> Outcome<Bytes> {
    let [.., high, low] = index.to_be_bytes();
    let ip = IpAddr::V4(Ipv4Addr::new(10, 0, high, low));
    let metadata = [("network_port", 3000), ("api_port", 18080)];
    let registration = NodeRegistration::new(name(index), ip).with_metadata(&metadata)?;
    Ok(serde_json::to_vec(&registration)?.into())
}

fn payload(index: usize) -> Outcome<NodeArtifactsPayload> {
    let files = ArtifactSet::new([file(&name(index))])?;
    Ok(NodeArtifactsPayload::new(files))
}

fn file(node: &str) -> ArtifactFile {
    let line = format!("id: {node}\n");
    ArtifactFile::new("node.yaml", line.repeat(FILE_BYTES / line.len()))
}

/// Requests in a second: each node has made two.
fn rate(count: usize, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts here are small")]
    let requests = (2 * count) as f64;
    requests / took.as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
