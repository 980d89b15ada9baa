//! One node: its ports, its folder, and the process that runs it now.
//!
//! How its end is noticed and looked into is in `ends`.
//!
//! Each method that changes something holds the node's turn (see [`Turn`]) for as long as it works, so operations on one node follow each other, also when the future of one of them was dropped.

mod ends;

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedMutexGuard, watch};
use tracing::debug;
use trellis_bootstrap::{
    Address, Doing, ExitReport, Instance, NodeCommand, Placement, PortSpec, ProviderError,
    StopReport,
};
use trellis_domain::{EndpointName, NodeName, Operation};

use crate::{
    environment,
    folder::NodeFolder,
    label::Label,
    log,
    ports::{HeldPort, PortPool},
    process::{Process, Watched, in_words},
    spawner::Spawner,
};

/// How long the kernel may take to end a process that was killed; it is long only when a disk hangs.
pub(crate) const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// How long a group may take to stop or to go on; it is long only when the machine is.
const FROZEN_WITHIN: Duration = Duration::from_secs(10);

/// The right to change a node. Taken by one operation after the other.
pub(crate) type Turn = OwnedMutexGuard<()>;

/// A node that has a place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) folder: NodeFolder,
    label: Label,
    turn: Arc<tokio::sync::Mutex<()>>,
    state: Mutex<State>,
    /// How the current process ended, when nobody told it to.
    report: watch::Sender<Option<ExitReport>>,
}

#[derive(Debug, Default)]
struct State {
    ports: BTreeMap<EndpointName, HeldPort>,
    command: Option<NodeCommand>,
    starts: u32,
    process: Option<Arc<Process>>,
}

impl Node {
    /// A node without ports and folders; `label` is its own.
    pub(crate) fn new(name: NodeName, folder: NodeFolder, label: Label) -> Arc<Self> {
        Arc::new(Self {
            name,
            folder,
            label,
            turn: Arc::default(),
            state: Mutex::default(),
            report: watch::Sender::new(None),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the operation before this one.
    pub(crate) async fn turn(&self) -> Turn {
        self.turn.clone().lock_owned().await
    }

    /// Gives the node folders and ports, in the place of those that it had. Blocks.
    pub(crate) fn settle(
        &self,
        pool: &PortPool,
        ports: &[PortSpec],
    ) -> Result<Placement, ProviderError> {
        self.folder
            .create()
            .map_err(|error| error.of(Doing::Placing, &self.name))?;
        let mut held = BTreeMap::new();
        let mut addresses = BTreeMap::new();
        for spec in ports {
            let port = pool
                .reserve(spec.transport)
                .map_err(|detail| ProviderError::NoPort {
                    node: self.name.clone(),
                    endpoint: spec.endpoint.to_string(),
                    detail,
                })?;
            let address = Address {
                host: pool.host().to_string(),
                port: port.number(),
                scheme: spec.scheme.into(),
            };
            addresses.insert(spec.endpoint.clone(), address);
            held.insert(spec.endpoint.clone(), port);
        }
        // The old ones are given up only now, so that none of them is among the new.
        self.state().ports = held;
        Ok(Placement {
            addresses,
            config_dir: self.folder.config(),
            data_dir: self.folder.data(),
        })
    }

    /// Gives up its ports, after its end.
    pub(crate) fn release_ports(&self) {
        self.state().ports.clear();
    }

    /// The process that runs it, or ran it last.
    pub(crate) fn process(&self) -> Option<Arc<Process>> {
        self.state().process.clone()
    }

    fn running(&self) -> Option<Arc<Process>> {
        self.process().filter(|process| process.end().is_none())
    }

    fn misplaced(&self, doing: Doing, detail: impl Into<String>) -> ProviderError {
        ProviderError::Misplaced {
            doing,
            node: self.name.clone(),
            detail: detail.into(),
        }
    }

    /// Refuses a node that runs.
    pub(crate) async fn must_be_down(&self, doing: Doing) -> Result<(), ProviderError> {
        let Some(process) = self.running() else {
            return Ok(());
        };
        if self.report.borrow().is_none() {
            return Err(self.misplaced(doing, format!("it runs as {}", process.label())));
        }
        // It was reported, so all that is missing is the last step of that.
        process.wait_for_end().await;
        Ok(())
    }

    /// Starts the node for the first time.
    pub(crate) async fn launch(
        self: &Arc<Self>,
        spawner: &Spawner,
        command: NodeCommand,
    ) -> Result<Instance, ProviderError> {
        self.state().command = Some(command);
        self.start(spawner, Doing::Launching).await
    }

    /// Starts the node with the command that it was launched with.
    pub(crate) async fn start(
        self: &Arc<Self>,
        spawner: &Spawner,
        doing: Doing,
    ) -> Result<Instance, ProviderError> {
        self.must_be_down(doing).await?;
        let (command, number) = {
            let mut state = self.state();
            let command = state.command.clone();
            state.starts += 1;
            (command, state.starts)
        };
        let command = command.ok_or_else(|| self.misplaced(doing, "it was never launched"))?;
        let child = self.spawn(spawner, doing, command, number).await;
        let watched = child.inspect_err(|_| {
            // Whether somebody else has a port does not matter to a node that did not start.
            self.take_ports_back();
        })?;
        let process = watched.process();
        let instance = Instance {
            label: process.label(),
        };
        debug!(node = %self.name, instance = %instance.label, "node process started");
        self.report.send_replace(None);
        self.state().process = Some(process);
        // Ends with the process, which teardown ends.
        tokio::spawn(self.clone().watch(watched));
        Ok(instance)
    }

    async fn spawn(
        self: &Arc<Self>,
        spawner: &Spawner,
        doing: Doing,
        command: NodeCommand,
        number: u32,
    ) -> Result<Watched, ProviderError> {
        for port in self.state().ports.values_mut() {
            port.hand_over();
        }
        let (node, assembled) = (self.clone(), command.clone());
        let child = spawner
            .spawn(move || node.assemble(doing, &assembled, number))
            .await?
            .map_err(|source| ProviderError::Program {
                node: self.name.clone(),
                program: environment::program(&command),
                hint: environment::hint(&command, &source),
                source,
            })?;
        Watched::new(child)
            .map_err(|source| self.system(doing, "its process could not be watched", source))
    }

    /// Opens the log and puts the process of start `number` together. Blocks.
    fn assemble(
        &self,
        doing: Doing,
        command: &NodeCommand,
        number: u32,
    ) -> Result<Command, ProviderError> {
        let log = log::open(&self.folder.log_file(), number)
            .map_err(|error| error.of(doing, &self.name))?;
        environment::assemble(command, &self.folder, &self.label, &log)
            .map_err(|source| self.system(doing, "its log could not be handed over", source))
    }

    fn system(&self, doing: Doing, detail: &str, source: std::io::Error) -> ProviderError {
        ProviderError::System {
            doing,
            node: self.name.clone(),
            detail: detail.to_owned(),
            source,
        }
    }

    /// Asks the node to end, and kills it after `grace`.
    pub(crate) async fn stop(
        self: &Arc<Self>,
        grace: Duration,
    ) -> Result<StopReport, ProviderError> {
        let begun = Instant::now();
        let process = self.launched(Operation::Stop)?;
        process.ask_to_end();
        let forced = tokio::time::timeout(grace, process.wait_for_end())
            .await
            .is_err();
        if forced {
            process.kill();
        }
        let took = self
            .after_the_end(&process)
            .await
            .map(|()| begun.elapsed())?;
        Ok(StopReport { took, forced })
    }

    /// Kills the node.
    pub(crate) async fn kill(self: &Arc<Self>) -> Result<(), ProviderError> {
        let process = self.launched(Operation::Kill)?;
        process.kill();
        self.after_the_end(&process).await
    }

    fn launched(&self, operation: Operation) -> Result<Arc<Process>, ProviderError> {
        self.process()
            .ok_or_else(|| self.misplaced(Doing::Operating(operation), "it was never launched"))
    }

    /// Waits for an end that was ordered, and sees that nothing of the node is left.
    async fn after_the_end(self: &Arc<Self>, process: &Process) -> Result<(), ProviderError> {
        let still_there = |instance| ProviderError::StillThere {
            node: self.name.clone(),
            instance,
            waited: KILLED_WITHIN,
        };
        let ended = tokio::time::timeout(KILLED_WITHIN, process.wait_for_end());
        ended.await.map_err(|_| still_there(process.label()))?;
        // It is down on purpose now, whatever it did before.
        self.report.send_replace(None);
        let left = self.end_survivors().await;
        self.take_ports_back();
        match left.first() {
            None => Ok(()),
            Some(_) => Err(still_there(left.join(", "))),
        }
    }

    /// Stops all its processes.
    pub(crate) async fn pause(self: &Arc<Self>) -> Result<(), ProviderError> {
        self.freeze_or_thaw(Operation::Pause, Process::freeze).await
    }

    /// Lets all its processes go on.
    pub(crate) async fn resume(self: &Arc<Self>) -> Result<(), ProviderError> {
        self.freeze_or_thaw(Operation::Resume, Process::thaw).await
    }

    async fn freeze_or_thaw(
        self: &Arc<Self>,
        operation: Operation,
        act: fn(&Process, Duration) -> bool,
    ) -> Result<(), ProviderError> {
        let process = self.launched(operation)?;
        let acting = process.clone();
        let doing = Doing::Operating(operation);
        if self
            .blocking(doing, move |_| act(&acting, FROZEN_WITHIN))
            .await?
        {
            return Ok(());
        }
        Err(ProviderError::Unfinished {
            node: self.name.clone(),
            operation,
            detail: match process.end() {
                Some(status) => format!("{} has ended ({})", process.label(), in_words(status)),
                None => format!("{} does not follow, or has just ended", process.label()),
            },
        })
    }

    /// Runs something that blocks where that harms nobody.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        doing: Doing,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, ProviderError> {
        let node = self.clone();
        tokio::task::spawn_blocking(move || work(&node))
            .await
            .map_err(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => self.system(doing, "the runtime is shutting down", error.into()),
            })
    }
}
