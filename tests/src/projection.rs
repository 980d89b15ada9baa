//! Projection nodes behind the port of the phrases about events and views.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    path::PathBuf,
    process::{Output, Stdio},
    sync::Arc,
    time::Duration,
};

use ::projection::rebuild::Command as Rebuild;
use async_trait::async_trait;
use projection_cluster::{
    ClusterSnapshot, ProjectionApp, ProjectionObserver, Publisher,
    config::VIEW,
    disk::{self, SmallDisk},
    observer::{HostedShard, NodeSeen},
    publisher::Deposit,
};
use tokio::{process::Command, sync::OnceCell};
use trellis_bootstrap::Application;
use trellis_domain::{NodeHandle, NodeName};
use trellis_observation::ObservationConfig;
use trellis_runtime::Cluster;
use trellis_steps::{
    Privilege, Program, StepError, StepResult,
    projection::{
        Aside, Event, EventKey, NodeView, Poison, ProjectionApp as Projections,
        ProjectionDeployment, ProjectionObservation, ProjectionView, ProjectionWatch,
        ProjectionWish, Retried, ShardView, Tally, Verdict,
    },
};

/// Names another NATS server than the one that is installed.
pub const SERVER_VARIABLE: &str = "TRELLIS_NATS_SERVER";
/// The line that installs one.
const INSTALL: &str = "apt-get install nats-server";
/// Whose events scenarios publish.
pub const TENANTS: &[&str] = &["north", "south", "west"];
/// Into how many shards the stream of several nodes is divided.
const SHARDS: u32 = 6;
/// How often the nodes are looked at when nobody asks for a look.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(4);

/// The server that nodes read from, as a program that may be missing: `said`, if that is anything, or else the one on `search_path`.
pub fn server(said: Option<&OsStr>, search_path: Option<&OsStr>) -> (PathBuf, Program) {
    const NAME: &str = "nats-server";
    let said = said.filter(|said| !said.is_empty()).map(PathBuf::from);
    // Debian has it where the paths of most users do not lead.
    let folders = search_path.into_iter().flat_map(env::split_paths);
    let mut folders = folders.chain([PathBuf::from("/usr/sbin")]);
    let found = folders.find_map(|folder| {
        let path = folder.join(NAME);
        path.is_file().then_some(path)
    });
    let path = said.or(found).unwrap_or_else(|| NAME.into());
    (path.clone(), Program::named(path, INSTALL))
}

/// What a machine has to allow before a node can have a disk of its own.
pub fn disks() -> Privilege {
    Privilege {
        lacking: Program::named(
            "a mount namespace for a small disk",
            "run as root, or sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        is_given: disk::is_allowed,
    }
}

/// Binds the port to projection nodes.
pub struct ProjectionPort {
    app: ProjectionApp,
}

impl ProjectionPort {
    /// The port of nodes that `app` runs.
    pub fn new(app: ProjectionApp) -> Self {
        Self { app }
    }
}

impl Projections for ProjectionPort {
    fn deploy(&self, wish: &ProjectionWish) -> Arc<dyn ProjectionDeployment> {
        let disks = wish.disks.iter();
        let disks = disks.map(|(node, mib)| (node.clone(), SmallDisk { mib: *mib }));
        let shards = if wish.nodes > 1 { SHARDS } else { 1 };
        Arc::new(Deployment {
            app: self.app.of_cluster(shards, disks.collect()),
            shards,
            publisher: OnceCell::new(),
        })
    }
}

struct Deployment {
    app: ProjectionApp,
    shards: u32,
    publisher: OnceCell<Publisher>,
}

impl Deployment {
    /// Connected once; the server has the same address after each start.
    async fn publisher(&self, server: &NodeHandle) -> StepResult<&Publisher> {
        let connect = || async {
            let url = self.app.server_url(server)?;
            let network = server.network.network.clone().unwrap_or_default();
            let stream = ProjectionApp::stream(&network);
            Ok::<_, StepError>(Publisher::connect(&url, stream).await?)
        };
        self.publisher.get_or_try_init(connect).await
    }

    /// Runs the program of the nodes with the settings of `node`.
    async fn command(&self, node: &NodeName, shard: u32, words: &[&str]) -> StepResult<Output> {
        let (program, settings) = self.app.command_line(node)?;
        let mut command = Command::new(program);
        command.arg("--settings").arg(settings);
        if self.shards > 1 {
            command.args(["--shard", &shard.to_string()]);
        }
        let command = command.args(words).env("RUST_LOG", "warn");
        let command = command.stdin(Stdio::null()).kill_on_drop(true);
        Ok(command.output().await?)
    }
}

#[async_trait]
impl ProjectionDeployment for Deployment {
    fn application(&self) -> Arc<dyn Application> {
        Arc::new(self.app.clone())
    }

    fn observe(&self, cluster: &Cluster) -> Arc<dyn ProjectionWatch> {
        let (app, shards) = (self.app.clone(), self.shards);
        let config = ObservationConfig::default()
            .with_name("projections")
            .with_interval(LOOK_EVERY)
            .with_poll_timeout(LOOK_WITHIN);
        let client = move |node: &NodeHandle| {
            let is_server = ProjectionApp::is_server(node.name());
            app.client(node).ok().filter(|_| !is_server)
        };
        let handle = cluster.observe(ProjectionObserver, client, config);
        let view = move |seen: &ClusterSnapshot| view(seen, shards);
        Arc::new(ProjectionObservation::new(handle, view))
    }

    fn tenants(&self) -> Vec<String> {
        TENANTS.iter().map(ToString::to_string).collect()
    }

    async fn open_stream(&self, server: &NodeHandle) -> StepResult {
        Ok(self.publisher(server).await?.open().await?)
    }

    async fn publish(&self, server: &NodeHandle, event: &Event) -> StepResult<u64> {
        let deposit = Deposit {
            id: &event.id,
            tenant: &event.key.tenant,
            key: &event.key.id,
            number: event.number,
            amount: event.amount,
            note_bytes: event.bytes,
        };
        Ok(self.publisher(server).await?.publish(&deposit).await?)
    }

    async fn publish_poison(
        &self,
        server: &NodeHandle,
        id: &str,
        poison: &Poison,
    ) -> StepResult<u64> {
        let publisher = self.publisher(server).await?;
        let published = match poison {
            Poison::NoJson => {
                let bytes = b"this is no event".to_vec();
                publisher.publish_bytes(id, TENANTS[0], bytes).await
            }
            Poison::Misfit(key) => publisher.publish_misfit(id, &key.tenant, &key.id).await,
        };
        Ok(published?)
    }

    async fn views(
        &self,
        node: &NodeHandle,
        min_seq: u64,
        within: Duration,
    ) -> StepResult<BTreeMap<EventKey, Tally>> {
        let client = self.app.client(node)?;
        let mut views = BTreeMap::new();
        for tenant in TENANTS {
            for row in client.views(tenant, min_seq, within).await? {
                let key = EventKey {
                    tenant: (*tenant).to_owned(),
                    id: row.id.to_string(),
                };
                let view = row.view.value();
                let number = |name: &str| view[name].as_u64().unwrap_or_default();
                let tally = Tally {
                    count: number("count"),
                    sum: number("sum"),
                    disordered: number("disordered"),
                };
                views.insert(key, tally);
            }
        }
        Ok(views)
    }

    async fn retry(&self, owner: &NodeHandle, shard: u32, key: &EventKey) -> StepResult<Retried> {
        let client = self.app.client(owner)?;
        let retried = client.retry(shard, &key.tenant, &key.id).await?;
        let stuck = retried.stuck;
        Ok(Retried {
            applied: retried.applied,
            stuck: stuck.map(|(sequence, why)| format!("event {sequence}: {why}")),
        })
    }

    async fn drop_event(&self, owner: &NodeHandle, shard: u32, sequence: u64) -> StepResult {
        Ok(self.app.client(owner)?.drop_event(shard, sequence).await?)
    }

    async fn rebuild(&self, owner: &NodeHandle, shard: u32) -> StepResult {
        let rebuild = Rebuild::Rebuild {
            projection: VIEW.to_owned(),
            from: 1,
            id: None,
        };
        Ok(self.app.client(owner)?.ask(shard, &rebuild).await?)
    }

    async fn cut_over(&self, owner: &NodeHandle, shard: u32) -> StepResult {
        let cut_over = Rebuild::Cutover {
            projection: VIEW.to_owned(),
        };
        Ok(self.app.client(owner)?.ask(shard, &cut_over).await?)
    }

    async fn verify(&self, owner: &NodeHandle, shard: u32) -> StepResult<Verdict> {
        let scratch = tempfile::tempdir()?;
        let folder = scratch.path().join("replay").display().to_string();
        let words = ["verify", VIEW, "--scratch", &folder];
        let output = self.command(owner.name(), shard, &words).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.code() {
            Some(code @ (0 | 2)) => Ok(Verdict {
                right: code == 0,
                text: text(&output.stdout),
            }),
            _ => Err(StepError::new(format!(
                "the views could not be compared ({}): {}",
                output.status,
                text(&output.stderr)
            ))),
        }
    }

    fn fill_disk(&self, node: &NodeName) -> StepResult<u64> {
        Ok(self.app.fill_disk(node)?)
    }

    fn make_room(&self, node: &NodeName) -> StepResult {
        Ok(self.app.make_room(node)?)
    }
}

fn view(seen: &ClusterSnapshot, shards: u32) -> ProjectionView {
    let nodes = seen.nodes.iter().filter_map(|(name, node)| {
        let node = node.as_ref().map(node_view).map_err(Clone::clone);
        Some((name.parse().ok()?, node))
    });
    ProjectionView {
        shards,
        nodes: nodes.collect(),
    }
}

fn node_view(node: &NodeSeen) -> NodeView {
    let owners = node.owners.iter();
    let shards = node.shards.iter();
    NodeView {
        state: node.state.clone(),
        not_ready: node.not_ready.clone(),
        owners: owners
            .filter_map(|(shard, owner)| Some((*shard, owner.parse().ok()?)))
            .collect(),
        shards: shards
            .map(|(number, shard)| (*number, shard_view(shard)))
            .collect(),
    }
}

fn shard_view(shard: &HostedShard) -> ShardView {
    let quarantine = shard.quarantine.iter().map(|aside| Aside {
        sequence: aside.sequence,
        waits: aside.fault == "waiting",
        fault: aside.fault.clone(),
        key: aside.of.clone().map(|(tenant, id)| EventKey { tenant, id }),
    });
    ShardView {
        floor: shard.floor,
        behind: shard.behind,
        served: shard.served,
        rebuilds: shard.rebuilds.clone(),
        has_caught_up: shard.has_caught_up,
        quarantine: quarantine.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_called_alike_on_both_sides_of_the_port() {
        assert_eq!(
            projection_cluster::SERVER,
            trellis_steps::projection::SERVER
        );
    }

    #[test]
    fn a_server_that_was_named_is_taken_before_one_that_is_installed() {
        let folder = tempfile::tempdir().unwrap();
        let installed = folder.path().join("nats-server");
        std::fs::write(&installed, "").unwrap();
        let path = Some(folder.path().as_os_str());
        assert_eq!(server(None, path).0, installed);
        assert_eq!(server(Some(OsStr::new("")), path).0, installed);
        assert_eq!(
            server(Some(OsStr::new("/opt/nats")), path).0,
            PathBuf::from("/opt/nats")
        );
    }
}
