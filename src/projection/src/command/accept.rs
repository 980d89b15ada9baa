//! `accept-gap` and `accept-program`: going on over what cannot be undone.

use clap::Args;

use super::{Outcome, node::Node, say};
use crate::{admin, stream::JetStreamSource};

/// Go on after a gap in the history of the stream.
#[derive(Args)]
pub(super) struct AcceptGap {
    /// The projection.
    projection: String,
}

impl AcceptGap {
    pub(super) async fn run(self, node: &Node) -> Outcome {
        let mut source = JetStreamSource::connect(&node.settings).await?;
        let store = node.owned()?;
        let projection = node.meant(&store, &self.projection)?;
        let (first, last) =
            admin::accept_gap(&store, &projection, &node.options(), &mut source).await?;
        say(&format!(
            "events {first} to {last} will never be in the views"
        ))
    }
}

/// Go on with another program over the views of the old one.
#[derive(Args)]
pub(super) struct AcceptProgram {
    /// The projection.
    projection: String,
}

impl AcceptProgram {
    pub(super) fn run(self, node: &Node) -> Outcome {
        admin::accept_program(&node.owned()?, node.projection(&self.projection)?)?;
        say("the node goes on with the new program")
    }
}
