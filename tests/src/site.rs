//! A building site: a folder with a ledger on which tests bring clusters up, and a look at what is left of them.

use std::{path::Path, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use trellis_bootstrap::{
    Application, BootstrapRequest, ClusterRequest, RunLedger, Silent, known_runs,
};
use trellis_domain::{ManagedNode, NodeName, ScenarioSources, ScenarioSpec};
use trellis_local::{LocalConfig, LocalDeployer};
use trellis_runtime::CfgsyncDelivery;

/// A folder with a ledger; removed when it is dropped.
pub struct Site {
    folder: TempDir,
    ledger: Arc<RunLedger>,
    /// Ends what is being brought up.
    pub cancel: CancellationToken,
}

impl Site {
    /// A new site, whose run is called after the process and `name`.
    ///
    /// # Panics
    /// When the machine has no place for temporary files.
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let run = format!("{name}-{}", std::process::id())
            .parse()
            .expect("the name is a valid one");
        let ledger = RunLedger::open(&folder.path().join("state"), run).expect("a ledger opens");
        Self {
            folder,
            ledger: Arc::new(ledger),
            cancel: CancellationToken::new(),
        }
    }

    /// A request for `nodes` of `app`, with two seconds to become ready.
    pub fn request(&self, app: impl Application, nodes: Vec<ManagedNode>) -> BootstrapRequest {
        let sources = ScenarioSources::Managed {
            nodes,
            external: Vec::new(),
        };
        let mut spec = ScenarioSpec::new(app.name().clone(), sources);
        spec.ready_within = Duration::from_secs(2);
        BootstrapRequest {
            spec,
            app: Arc::new(app),
            deployer: Arc::new(LocalDeployer::new(LocalConfig::default())),
            delivery: Arc::new(CfgsyncDelivery),
            attach: Vec::new(),
            cluster: ClusterRequest {
                network: "test".to_owned(),
                folder: self.clusters(),
                ledger: Arc::clone(&self.ledger),
            },
            planned: Vec::new(),
            keep_on_failure: None,
            progress: Arc::new(Silent),
            cancel: self.cancel.clone(),
        }
    }

    /// Checks that no process of the run is left, no folder, and no line in the ledger.
    ///
    /// # Panics
    /// When something is left.
    pub fn assert_clean(self) {
        let run = self.ledger.run().clone();
        let folders: Vec<_> = std::fs::read_dir(self.clusters())
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        assert!(folders.is_empty(), "folders are left: {folders:?}");
        let processes = processes_of(run.as_str());
        assert!(processes.is_empty(), "processes are left: {processes:?}");
        let Self { folder, ledger, .. } = self;
        drop(ledger);
        for abandoned in known_runs(&folder.path().join("state"))
            .expect("ledgers are readable")
            .abandoned
        {
            assert_eq!(abandoned.left(), [], "the ledger lists leftovers");
        }
    }

    fn clusters(&self) -> std::path::PathBuf {
        self.folder.path().join("clusters")
    }
}

/// The processes that carry the label of `run`.
fn processes_of(run: &str) -> Vec<String> {
    let label = format!("TRELLIS_RUN={run}");
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.map(|entry| entry.path());
    let ours = |path: &Path| {
        let environment = std::fs::read(path.join("environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == label.as_bytes())
    };
    pids.filter(|path| ours(path))
        .map(|path| path.display().to_string())
        .collect()
}

/// A managed node called `name` that waits for `connected_to`.
///
/// # Panics
/// When a name is not a valid one.
pub fn node(name: &str, connected_to: &[&str]) -> ManagedNode {
    let parse = |name: &str| -> NodeName { name.parse().expect("tests use valid names") };
    ManagedNode {
        connected_to: connected_to.iter().map(|name| parse(name)).collect(),
        ..ManagedNode::new(parse(name))
    }
}
