//! Rebuilding: new generations of views beside those that are served, and the way there and back.
//!
//! A rebuild is a shard of its own that fills a generation of its own; nothing of it is seen before one transaction flips the alias of the type.
//! A part of the views, of one tenant or one alone, is made on the side in the same way, and then exchanged for what is served.
//!
//! Suggested order of reading: `records`, `lineup`, `source`, `pace`, `until`, `replay`, `side`, `exchange`, `node`, `verify`, `http`.

mod error;
mod exchange;
pub mod http;
mod lineup;
mod node;
mod options;
mod pace;
mod progress;
mod records;
mod replay;
mod side;
mod source;
mod until;
mod verify;

pub use error::RebuildError;
pub use exchange::{ExchangeLimits, exchange, finish_exchange};
pub(crate) use lineup::find;
pub use lineup::{Beside, Lineup, lineup};
pub use node::{Command, Done, Node, NodeHandle, NodeMode, Rest};
pub use options::{Cutover, RebuildOptions};
pub use pace::{Pace, Paced};
pub use progress::{Phase, Progress, Purpose};
pub use records::{
    begin, cut_over, rebuild_in_place, retire, retire_some, roll_back, settle_in_place,
};
pub use replay::{Replay, Replayed, replay_to};
pub use side::only;
pub use source::{JetStreamSources, MemorySources, Sources};
pub use until::UpTo;
pub use verify::{
    Difference, PATH as VERIFY_PATH, Verification, Verified, Verifier, Verify, VerifyOutcome,
    verify,
};

#[cfg(test)]
mod test_streams;
#[cfg(test)]
mod tests;
