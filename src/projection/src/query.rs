//! Queries in `uqf/1`: which views of a tenant, in which order, from what is stored.
//!
//! [`QueryEngine`] answers them from a store; `http` puts it on the network. A query does not name a tenant: that is known of whoever asks, before the query is looked at.
//! Every query has a budget. When it is spent, what was found is answered, with a cursor to go on from.
//!
//! Suggested order of reading: `uqf`, `filter`, `parse_filter`, `plan`, `run`, `cursor`, `budget`, `engine`, `http`.

mod answer;
mod budget;
mod cursor;
mod engine;
mod error;
mod filter;
pub mod http;
pub(crate) mod merge;
mod parse_filter;
mod plan;
mod run;
mod stale;
mod uqf;

pub use answer::{Answer, Got, Row};
pub use budget::{Looked, QueryLimits};
pub use cursor::CursorKey;
pub(crate) use engine::LIMIT;
pub use engine::QueryEngine;
pub use error::QueryError;
pub use plan::Explained;
pub use uqf::{Consistency, Query};
