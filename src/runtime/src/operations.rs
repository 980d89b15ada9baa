//! Node operations: what may be done to a node, each behind the one check of ownership, capability and state.

use std::{collections::BTreeMap, future::Future, time::Duration};

use futures::future::join_all;
use trellis_bootstrap::{Instance, NodeOperations, ProviderError, StopReport};
use trellis_domain::{NodeHandle, NodeName, NodeState, Operation, Permit};

use crate::{Cluster, OperationError};

/// How long a node may take to end after it was asked to.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How many log lines an error shows.
const LOG_LINES: usize = 10;

/// All of them are carried out on the caller's task; dropping the future may leave one half done, which [`Cluster::release`] copes with.
impl Cluster {
    /// Asks a node to end, and makes it after 5 s.
    ///
    /// # Errors
    /// A refusal, or a node that is still there.
    pub async fn stop(&self, name: &NodeName) -> Result<StopReport, OperationError> {
        let permit = self.permit(name, Operation::Stop)?;
        let report = self
            .carry_out(&permit, |node| node.stop(&permit, STOP_GRACE))
            .await?;
        let how = if report.forced {
            "had to be killed"
        } else {
            "ended"
        };
        self.now(
            &permit,
            NodeState::Stopped,
            &format!("{how} after {:?}", report.took),
        )?;
        Ok(report)
    }

    /// Ends a node without asking it.
    ///
    /// # Errors
    /// A refusal, or a node that is still there.
    pub async fn kill(&self, name: &NodeName) -> Result<(), OperationError> {
        let permit = self.permit(name, Operation::Kill)?;
        self.carry_out(&permit, |node| node.kill(&permit)).await?;
        self.now(&permit, NodeState::Stopped, "killed")
    }

    /// Freezes a node: it keeps its sockets and answers nothing.
    ///
    /// # Errors
    /// A refusal, or a node that did not freeze.
    pub async fn pause(&self, name: &NodeName) -> Result<(), OperationError> {
        let permit = self.permit(name, Operation::Pause)?;
        self.carry_out(&permit, |node| node.pause(&permit)).await?;
        self.now(&permit, NodeState::Paused, "paused")
    }

    /// Thaws a node.
    ///
    /// # Errors
    /// A refusal, or a node that did not thaw.
    pub async fn resume(&self, name: &NodeName) -> Result<(), OperationError> {
        let permit = self.permit(name, Operation::Resume)?;
        self.carry_out(&permit, |node| node.resume(&permit)).await?;
        self.now(&permit, NodeState::Running, "resumed")
    }

    /// Starts a node that is down again, on its data, and waits until it is ready.
    ///
    /// # Errors
    /// A refusal, or a node that ends or is not ready by the scenario's deadline, with its log.
    pub async fn start(&self, name: &NodeName) -> Result<NodeHandle, OperationError> {
        let permit = self.permit(name, Operation::Start)?;
        self.start_again(&permit).await
    }

    /// Stops a node if it runs, starts it on the same data, and waits until it is ready.
    ///
    /// # Errors
    /// As for [`Cluster::stop`] and [`Cluster::start`].
    pub async fn restart(&self, name: &NodeName) -> Result<NodeHandle, OperationError> {
        let permit = self.permit(name, Operation::Restart)?;
        if !permit.node().state.is_down() {
            self.stop(name).await?;
        }
        self.start_again(&permit).await
    }

    /// Restarts a node with configuration overrides: dotted path to YAML value. They stay for later starts.
    ///
    /// # Errors
    /// As for [`Cluster::restart`]; an override that does not fit is refused before the node is touched.
    pub async fn restart_with(
        &self,
        name: &NodeName,
        overrides: &BTreeMap<String, String>,
    ) -> Result<NodeHandle, OperationError> {
        let permit = self.permit(name, Operation::PatchConfig)?;
        self.permit(name, Operation::Restart)?;
        let fleet = self.fleet(&permit)?;
        let failed = |source| OperationError::Bootstrap {
            operation: Operation::PatchConfig,
            node: name.clone(),
            source: Box::new(source),
        };
        fleet
            .override_config(permit.name(), overrides)
            .await
            .map_err(failed)?;
        fleet.configure(permit.name()).await.map_err(failed)?;
        self.restart(name).await
    }

    /// Carries out `operation` on several nodes at once and waits for all of them.
    ///
    /// # Errors
    /// All failures together.
    pub async fn on_all<T, F>(
        &self,
        nodes: &[NodeName],
        operation: impl Fn(Cluster, NodeName) -> F,
    ) -> Result<Vec<T>, OperationError>
    where
        F: Future<Output = Result<T, OperationError>>,
    {
        let results = join_all(
            nodes
                .iter()
                .map(|node| operation(self.clone(), node.clone())),
        )
        .await;
        let mut failures = Vec::new();
        let mut values = Vec::with_capacity(results.len());
        for result in results {
            match result {
                Ok(value) => values.push(value),
                Err(failure) => failures.push(failure),
            }
        }
        match failures.len() {
            0 => Ok(values),
            1 => Err(failures.remove(0)),
            _ => Err(OperationError::Several(failures)),
        }
    }

    /// Saves the data folder of a node that is down under `label`.
    ///
    /// # Errors
    /// A refusal, or what could not be copied.
    pub async fn save_data(&self, name: &NodeName, label: &str) -> Result<(), OperationError> {
        let permit = self.permit(name, Operation::SaveData)?;
        self.carry_out(&permit, |node| node.save_data(&permit, label))
            .await?;
        self.inner
            .journal
            .note(format!("data of {name} saved as {label:?}"));
        Ok(())
    }

    /// Replaces the data folder of a node that is down by what `source` saved under `label`.
    ///
    /// # Errors
    /// A refusal, or an unknown copy with the known ones.
    pub async fn restore_data(
        &self,
        name: &NodeName,
        label: &str,
        source: &NodeName,
    ) -> Result<(), OperationError> {
        let permit = self.permit(name, Operation::RestoreData)?;
        self.carry_out(&permit, |node| node.restore_data(&permit, label, source))
            .await?;
        self.inner
            .journal
            .note(format!("data of {name} replaced by {label:?} of {source}"));
        Ok(())
    }

    async fn start_again(&self, permit: &Permit) -> Result<NodeHandle, OperationError> {
        let name = permit.name();
        let instance: Instance = self.carry_out(permit, |node| node.start(permit)).await?;
        self.inner
            .journal
            .note(format!("{name} started ({})", instance.label));
        self.inner
            .inventory
            .update(|nodes| nodes.started(name, Some(instance.label)))?;
        let within = self.inner.spec.ready_within;
        let ready = self.settling().settle(name, within).await;
        ready.map_err(|source| OperationError::Bootstrap {
            operation: permit.operation(),
            node: name.clone(),
            source: Box::new(source),
        })
    }

    /// Lets the backend do what was permitted; a failure carries the end of the node's log.
    async fn carry_out<'a, T, F>(
        &'a self,
        permit: &Permit,
        operation: impl FnOnce(&'a dyn NodeOperations) -> F,
    ) -> Result<T, OperationError>
    where
        F: Future<Output = Result<T, ProviderError>>,
    {
        let operations = self.operations(permit)?;
        let source = match operation(operations).await {
            Ok(value) => return Ok(value),
            Err(source) => source,
        };
        // Its log is another operation, which a borrowed node may not be opted in to.
        let log = match self.permit(permit.name(), Operation::ReadLogs) {
            Ok(_) => operations.log_tail(permit.name(), LOG_LINES).await.ok(),
            Err(_) => None,
        };
        Err(OperationError::Provider {
            operation: permit.operation(),
            node: permit.name().clone(),
            log,
            source: Box::new(source),
        })
    }

    fn now(&self, permit: &Permit, state: NodeState, what: &str) -> Result<(), OperationError> {
        let name = permit.name();
        self.inner.journal.note(format!("{name} {what}"));
        Ok(self
            .inner
            .inventory
            .update(|nodes| nodes.set_state(name, state))?)
    }
}
