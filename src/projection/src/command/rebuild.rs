//! `rebuild`: making the views of a projection again.

use clap::Args;

use super::{Outcome, node::Node, say};
use crate::admin;

/// Make the views of a projection again.
#[derive(Args)]
pub(super) struct Rebuild {
    /// Remove the views first; the node makes them again when it starts.
    #[arg(long, required = true)]
    in_place: bool,
    /// The projection, such as account or account@2.
    projection: String,
}

impl Rebuild {
    pub(super) fn run(self, node: &Node) -> Outcome {
        debug_assert!(self.in_place, "nothing else can be asked for");
        admin::rebuild_in_place(&node.owned()?, node.projection(&self.projection)?)?;
        say("the views are gone; the node makes them again when it starts")
    }
}
