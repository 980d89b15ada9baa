//! The pipeline of one shard: events in order, folded into views, committed with their checkpoint, acknowledged last.
//!
//! A shard has one owner, which is whoever owns its store. Receiving, folding and committing go on side by side: the next batch is folded while the last one is written.
//!
//! Suggested order of reading: `shard`, `session`, `decode`, `fold`, `sort`, `lane`, `commit`.

mod alone;
mod commit;
mod decode;
mod fold;
mod lane;
mod note;
mod pieces;
mod rules;
mod session;
mod shard;
#[cfg(test)]
mod simulation;
mod sort;
mod status;

pub(crate) use commit::since;
pub use shard::{Shard, ShardOptions};
pub use status::{ProjectionState, ShardState, ShardStatus};
