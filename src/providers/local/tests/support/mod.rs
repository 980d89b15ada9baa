//! A cluster on this machine for tests, with permits for anything.

#![expect(dead_code, reason = "every test file uses its own part")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use trellis_bootstrap::{
    ClusterRequest, Deployer as _, NodeCommand, NodeControl, Placement, PortSpec, RunLedger,
    Transport,
};
use trellis_domain::{
    Capability, Endpoint, NodeInventory, NodeName, NodeSighting, NodeState, Operation, OptIns,
    Origin, OwnedNode, Permit,
};
use trellis_local::{LocalConfig, LocalDeployer};

pub(crate) const TESTBED: &str = env!("CARGO_BIN_EXE_trellis-local-testbed");

/// How long anything may take on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Bed {
    pub(crate) home: tempfile::TempDir,
    pub(crate) folder: PathBuf,
    pub(crate) ledger: Arc<RunLedger>,
    pub(crate) control: Arc<dyn NodeControl>,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        Self::with(LocalConfig::default()).await
    }

    pub(crate) async fn with(config: LocalConfig) -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("cluster");
        let ledger =
            Arc::new(RunLedger::open(home.path(), unique("test").parse().unwrap()).unwrap());
        let request = ClusterRequest {
            network: format!("{}-net", ledger.run()),
            folder: folder.clone(),
            ledger: ledger.clone(),
        };
        let control = LocalDeployer::new(config).open(request).await.unwrap();
        Self {
            home,
            folder,
            ledger,
            control,
        }
    }

    /// Places and launches a node that runs a script. `$0` is its folder.
    pub(crate) async fn sh(&self, name: &str, script: &str) -> Placement {
        let placement = self.control.place(&node(name), &[http()]).await.unwrap();
        self.control.launch(&node(name), &sh(script)).await.unwrap();
        placement
    }

    /// Waits until the node wrote this file into its data folder, and gives its content.
    pub(crate) async fn file(&self, node: &str, file: &str) -> String {
        let path = self.folder.join("nodes").join(node).join("data").join(file);
        until(&format!("{} to be written", path.display()), || {
            std::fs::read_to_string(&path)
                .ok()
                .filter(|text| text.ends_with('\n'))
        })
        .await
        .trim()
        .to_owned()
    }

    pub(crate) async fn stop(&self, name: &str, grace: Duration) -> trellis_bootstrap::StopReport {
        self.control
            .stop(&permit(name, Operation::Stop), grace)
            .await
            .unwrap()
    }

    /// The last lines of the node's log.
    pub(crate) async fn log(&self, name: &str) -> Vec<String> {
        self.control.log_tail(&node(name), 50).await.unwrap().lines
    }
}

pub(crate) fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let begun = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_micros();
    format!("{prefix}-{}-{count}-{begun}", std::process::id())
}

pub(crate) fn node(name: &str) -> NodeName {
    name.parse().unwrap()
}

pub(crate) fn http() -> PortSpec {
    PortSpec {
        endpoint: "http".parse().unwrap(),
        scheme: "http",
        transport: Transport::Tcp,
    }
}

pub(crate) fn sh(script: &str) -> NodeCommand {
    command("/bin/sh", &["-c", script])
}

pub(crate) fn command(program: &str, args: &[&str]) -> NodeCommand {
    NodeCommand {
        program: program.into(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: BTreeMap::new(),
    }
}

/// The proof that a node is ours.
pub(crate) fn owned(name: &str) -> OwnedNode {
    let inventory = inventory(name);
    let handle = inventory.node(&node(name)).unwrap();
    OwnedNode::try_from(handle).expect("a managed node is owned")
}

/// A permit for a node that is in whatever state the operation needs.
pub(crate) fn permit(name: &str, operation: Operation) -> Permit {
    let mut inventory = inventory(name);
    let states = [NodeState::Running, NodeState::Stopped, NodeState::Paused];
    for state in states {
        inventory.set_state(&node(name), state).unwrap();
        let handle = inventory.node(&node(name)).unwrap();
        if let Ok(permit) = Permit::check(handle, operation, &OptIns::default()) {
            return permit;
        }
    }
    panic!("no state permits to {operation}");
}

/// An inventory of one managed node.
fn inventory(name: &str) -> NodeInventory {
    let origin = Origin::Managed {
        deployer: "local".to_owned(),
    };
    let mut sighting = NodeSighting::new(node(name), origin);
    sighting.capabilities = Capability::ALL.into_iter().collect();
    let endpoint = Endpoint::new("http".parse().unwrap(), "http://127.0.0.1:1").unwrap();
    sighting.endpoints.insert(endpoint);
    let mut inventory = NodeInventory::default();
    inventory.merge([sighting]).unwrap();
    inventory
}

/// Waits until `look` finds something.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {SOON:?} for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the process runs or could; a zombie is gone.
pub(crate) fn is_alive(pid: &str) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// The state letter of `/proc/<pid>/stat`.
pub(crate) fn state(pid: &str) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}
