//! What the key-value and leader phrases need of an application, and the phrases themselves.
//!
//! [`ReplicatedKv`] is a port: a composition root binds it to an application's typed client and observer. The phrases below speak of keys, leaders and voters, and of no application.

mod port;
mod session;
mod steps;
mod verify;
mod writer;

pub use port::{
    KvRefusal, MemberView, Read, ReplicaObservation, ReplicaPredicate, ReplicaView, ReplicaWatch,
    ReplicatedKv, WaitFailure,
};
pub(crate) use session::KvSession;
pub(crate) use steps::EFFECTS;
