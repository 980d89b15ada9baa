//! Identity: asks nodes who they are, several at once and each for a bounded time.
//!
//! What follows from their answers is the caller's: which sightings are one node, and whether the nodes fit together.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::timeout;
use trellis_domain::{Credential, NetworkIdentity, NodeHandle, NodeInventory, NodeSighting};

use crate::{Application, BootstrapError, DynError, Progress, SelfDescription, in_one_line};

/// How long a node that is ready may take to say who it is.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// How long a node that is not known to be ready may take; a scenario with a dead node waits no longer than that for it.
const UNKNOWN_WITHIN: Duration = Duration::from_secs(2);
/// How many nodes are asked at the same time.
const ASKED_MAX: usize = 16;

/// Asks nodes that are ready; gives each with its answer, in any order.
pub(crate) async fn ask_ready(
    app: &dyn Application,
    nodes: &[NodeHandle],
) -> Vec<(NodeHandle, Result<SelfDescription, DynError>)> {
    stream::iter(nodes.to_vec())
        .map(|node| async move {
            let answer = ask(app, &node, READY_WITHIN).await;
            (node, answer)
        })
        .buffer_unordered(ASKED_MAX)
        .collect()
        .await
}

/// A sighting and whether its node said who it is.
pub(crate) struct Asked {
    /// The sighting, with what the node said in it.
    pub(crate) sighting: NodeSighting,
    /// Whether it answered; one that did not is known by its address alone.
    pub(crate) answered: bool,
}

/// Asks the nodes behind sightings of others, so that one node that was seen twice is known to be one before anything acts on it. A node that does not answer is left to the readiness barrier.
///
/// # Errors
/// A sighting that cannot be asked because it has no address.
pub(crate) async fn ask_borrowed(
    app: &dyn Application,
    sightings: Vec<NodeSighting>,
    progress: &dyn Progress,
) -> Result<Vec<Asked>, BootstrapError> {
    let questions = sightings
        .into_iter()
        .map(|sighting| Ok((alone(&sighting)?, sighting)))
        .collect::<Result<Vec<_>, BootstrapError>>()?;
    let asked = stream::iter(questions)
        .map(|(node, mut sighting)| async move {
            let answer = ask(app, &node, UNKNOWN_WITHIN).await;
            let answered = answer.is_ok();
            match answer {
                Ok(said) => {
                    sighting.peer_id = said.peer_id;
                    sighting.network = with_auth_class(said.network, &node);
                }
                Err(error) => progress.note(&format!(
                    "{node} does not say who it is, so it is known by its address: {}",
                    in_one_line(&*error)
                )),
            }
            Asked { sighting, answered }
        })
        .buffered(ASKED_MAX)
        .collect()
        .await;
    Ok(asked)
}

/// What a node said of its network; where it does not say how it wants to be asked, the credential that it took does.
pub(crate) fn with_auth_class(mut said: NetworkIdentity, node: &NodeHandle) -> NetworkIdentity {
    let class = node.credential.as_ref().map(Credential::class);
    said.auth = said.auth.or_else(|| class.map(str::to_owned));
    said
}

async fn ask(
    app: &dyn Application,
    node: &NodeHandle,
    within: Duration,
) -> Result<SelfDescription, DynError> {
    let answer = timeout(within, app.identify(node)).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {within:?}").into()))
}

/// The handle of a sighting as if it were the only one.
fn alone(sighting: &NodeSighting) -> Result<NodeHandle, BootstrapError> {
    let mut inventory = NodeInventory::default();
    inventory.merge([sighting.clone()])?;
    Ok(inventory.node(&sighting.name)?.clone())
}
