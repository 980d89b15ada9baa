//! Joining: more managed nodes for a cluster that runs.
//!
//! The same steps as in `orchestrator`, for one node at a time and into an inventory that others watch.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use trellis_domain::{
    ManagedNode, NodeHandle, NodeName, NodeState, Operation, OptIns, Permit, ReadinessPolicy,
    UnknownIdentity,
};

use crate::{
    Application, BootstrapError, Fleet, NodeControl, PlannedOperation, Progress, ReadinessBarrier,
    SharedInventory,
    orchestrator::{PORT_ATTEMPTS, mark_running},
    preflight::{self, Preflight},
};

/// What is needed in order to add a node to a running cluster.
pub struct JoinRequest<'a> {
    /// The nodes that we start.
    pub fleet: &'a Fleet,
    /// The list that it comes into.
    pub inventory: &'a SharedInventory,
    /// The node.
    pub node: &'a ManagedNode,
    /// The data that it begins with, as a label and the node that saved it; none for an empty folder.
    pub data: Option<(&'a str, &'a NodeName)>,
    /// What the scenario's steps will do, as far as it is known.
    pub planned: &'a [PlannedOperation],
    /// What may be done to borrowed nodes.
    pub opt_ins: &'a OptIns,
    /// Whether nodes may keep parts of their network identity to themselves.
    pub unknown: UnknownIdentity,
    /// How long it may take to become ready.
    pub ready_within: Duration,
    /// Who is told meanwhile.
    pub progress: &'a dyn Progress,
}

/// Adds a managed node to a running cluster.
///
/// # Errors
/// As for [`crate::bootstrap`]. A node that could not be placed is not in the inventory; one that was started stays there with what became of it, so that its log can be read, and is removed with the cluster.
pub async fn join(request: JoinRequest<'_>) -> Result<NodeHandle, BootstrapError> {
    let JoinRequest {
        fleet,
        inventory,
        node,
        ..
    } = request;
    let mut sightings = fleet.place(std::slice::from_ref(node), false).await?;
    let mut attempt = 1;
    loop {
        inventory.update(|nodes| nodes.merge(sightings))?;
        preflight::check_operations(&inventory.snapshot(), request.planned, request.opt_ins)?;
        match start(&request).await {
            Err(BootstrapError::Exited { report, .. })
                if report.taken_port.is_some() && attempt < PORT_ATTEMPTS =>
            {
                let port = report.taken_port.unwrap_or_default();
                request.progress.note(&format!(
                    "another process listens on port {port}, which was {}'s; starting it with other ports",
                    node.name
                ));
                inventory.update(|nodes| nodes.leave(&node.name))?;
                sightings = vec![fleet.replace_ports(&node.name).await?];
                attempt += 1;
            }
            other => return other,
        }
    }
}

async fn start(request: &JoinRequest<'_>) -> Result<NodeHandle, BootstrapError> {
    let JoinRequest {
        fleet,
        inventory,
        node,
        ..
    } = request;
    if let Some((label, source)) = request.data {
        // It has no process yet, which is what replacing its data takes.
        inventory.update(|nodes| nodes.set_state(&node.name, NodeState::Stopped))?;
        let placed = inventory.node(&node.name)?;
        let permit = Permit::check(&placed, Operation::RestoreData, request.opt_ins)?;
        let control = fleet.control();
        control.restore_data(&permit, label, source).await?;
    }
    let instance = fleet.launch(&node.name).await?;
    inventory.update(|nodes| nodes.started(&node.name, Some(instance.label)))?;
    let settling = Settling {
        app: fleet.app(),
        control: Some(fleet.control()),
        inventory,
        unknown: request.unknown,
        progress: request.progress,
    };
    settling.settle(&node.name, request.ready_within).await
}

/// What is needed in order to wait for a node that was just started.
pub struct Settling<'a> {
    /// Whom to ask how to probe.
    pub app: &'a Arc<dyn Application>,
    /// Control of the managed nodes, if there are any.
    pub control: Option<&'a Arc<dyn NodeControl>>,
    /// The list that it is in.
    pub inventory: &'a SharedInventory,
    /// Whether nodes may keep parts of their network identity to themselves.
    pub unknown: UnknownIdentity,
    /// Who is told meanwhile.
    pub progress: &'a dyn Progress,
}

impl Settling<'_> {
    /// Waits until the node is ready, asks it who it is, and checks that it still fits the others.
    ///
    /// # Errors
    /// As for [`crate::bootstrap`]; the node is left as it is.
    pub async fn settle(
        &self,
        node: &NodeName,
        within: Duration,
    ) -> Result<NodeHandle, BootstrapError> {
        let nodes = [self.inventory.node(node)?];
        self.settle_all(&nodes, ReadinessPolicy::AllReady, 0, within)
            .await?;
        Ok(self.inventory.node(node)?)
    }

    /// Waits until so many of `nodes` are ready that `policy` is met, besides `missing` ones that nobody found; then as for [`Settling::settle`].
    ///
    /// # Errors
    /// As for [`crate::bootstrap`]; the nodes are left as they are.
    pub async fn settle_all(
        &self,
        nodes: &[NodeHandle],
        policy: ReadinessPolicy,
        missing: usize,
        within: Duration,
    ) -> Result<(), BootstrapError> {
        let barrier = ReadinessBarrier {
            app: self.app,
            control: self.control,
            policy,
            missing,
            within,
            since: Instant::now(),
            progress: self.progress,
        };
        let ready = barrier.wait(nodes).await?;
        let ready = mark_running(self.inventory, &ready)?;
        let preflight = Preflight {
            app: &**self.app,
            inventory: self.inventory,
            unknown: self.unknown,
            progress: self.progress,
        };
        preflight.check(&ready).await.map(drop)
    }
}
