//! Projections: phrases about nodes that fold events into views, and the port that an application binds for them.
//!
//! What was acknowledged to whoever published is known here (see `ledger`), and every view is held against it. No application is named.

mod cluster;
mod events;
mod ledger;
mod load;
mod poison;
mod port;
mod rebuilds;
mod session;
mod shards;
mod view;
mod views;

pub use port::{
    Event, EventKey, Poison, ProjectionApp, ProjectionDeployment, ProjectionObservation,
    ProjectionPredicate, ProjectionWatch, ProjectionWish, Retried, Tally, Verdict,
};
pub use view::{Aside, NodeView, ProjectionView, ShardView};

pub(crate) use session::ProjectionSession;

/// What the node is called that is the server of events.
pub const SERVER: &str = "NATS";

pub(crate) fn effects() -> [&'static [crate::effect::StepEffects]; 2] {
    [cluster::EFFECTS, shards::EFFECTS]
}
