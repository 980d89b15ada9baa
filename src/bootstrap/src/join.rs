//! Joining: more managed nodes for a cluster that runs.
//!
//! The same steps as in `orchestrator`, for one node at a time and into an inventory that others watch.

use std::time::Duration;

use trellis_domain::{ManagedNode, NodeHandle, NodeName, OptIns, ReadinessPolicy};

use crate::{
    BootstrapError, Fleet, PlannedOperation, Progress, ReadinessBarrier, SharedInventory,
    orchestrator::{PORT_ATTEMPTS, mark_running, preflight_ready},
    preflight,
};

/// What is needed in order to add a node to a running cluster.
pub struct JoinRequest<'a> {
    /// The nodes that we start.
    pub fleet: &'a Fleet,
    /// The list that it comes into.
    pub inventory: &'a SharedInventory,
    /// The node.
    pub node: &'a ManagedNode,
    /// What the scenario's steps will do, as far as it is known.
    pub planned: &'a [PlannedOperation],
    /// What may be done to borrowed nodes.
    pub opt_ins: &'a OptIns,
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
    let instance = fleet.launch(&node.name).await?;
    inventory.update(|nodes| nodes.started(&node.name, Some(instance.label)))?;
    settle(
        fleet,
        inventory,
        &node.name,
        request.ready_within,
        request.progress,
    )
    .await
}

/// Waits until a managed node that was just started is ready, asks it who it is, and checks that it still fits the others.
///
/// # Errors
/// As for [`crate::bootstrap`]; the node is left as it is.
pub async fn settle(
    fleet: &Fleet,
    inventory: &SharedInventory,
    node: &NodeName,
    within: Duration,
    progress: &dyn Progress,
) -> Result<NodeHandle, BootstrapError> {
    let barrier = ReadinessBarrier {
        app: fleet.app(),
        control: Some(fleet.control()),
        policy: ReadinessPolicy::AllReady,
        within,
        progress,
    };
    let ready = barrier.wait(&[inventory.node(node)?]).await?;
    let ready = mark_running(inventory, &ready)?;
    preflight_ready(&**fleet.app(), inventory, &ready).await?;
    Ok(inventory.node(node)?)
}
