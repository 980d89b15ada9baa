//! What a cluster is: nodes, where they came from, what may be done to them, and the one list of them.
//!
//! Here are values and the rules that hold between them.
//! Not here: anything that talks to a node, starts one or waits for one (see `trellis-bootstrap` and `trellis-runtime`); this crate does no I/O and knows no async runtime.
//!
//! Suggested order of reading: [`NodeName`] and [`NodeIdentity`], [`Origin`] and [`Ownership`], [`Capability`], [`NodeHandle`], [`NodeInventory`], [`ScenarioSources`], [`Permit`] and [`OwnedNode`].

mod capability;
mod endpoint;
mod inventory;
mod merge;
mod name;
mod network;
mod node;
mod operation;
mod origin;
mod owned;
mod readiness;
mod secret;
mod sources;

pub use capability::{Capability, CapabilitySet};
pub use endpoint::{Endpoint, EndpointError, HostPort};
pub use inventory::{InventoryError, NodeInventory, UnknownNode};
pub use merge::MergeError;
pub use name::{AppName, EndpointName, NameError, NodeName, PeerId, RunId};
pub use network::{NetworkIdentity, NetworkMismatch, UnknownIdentity};
pub use node::{NodeFacts, NodeHandle, NodeIdentity, NodeSighting, NodeState};
pub use operation::{Operation, OptIns, Permit, Refusal};
pub use origin::{Origin, Ownership};
pub use owned::{NotOurs, OwnedNode};
pub use readiness::{ReadinessPolicy, ReadinessTally, ReadinessVerdict};
pub use secret::{Credential, Secret};
pub use sources::{
    AttachSpec, ExternalNode, ManagedNode, ScenarioSources, ScenarioSpec, SourcesError, start_waves,
};
