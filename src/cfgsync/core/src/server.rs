//! Server: the wire contract over HTTP, in front of a [`crate::NodeConfigSource`].
//!
//! `POST /register` and `POST /node` for nodes, `GET /healthz` and `GET /registrations` for people.
//! What a node gets, and when, is the source's business.

mod bodies;
mod hold;
mod limits;
mod prefer;
mod refusal;
mod request;
mod router;
mod serve;
mod state;

pub use limits::ServerLimits;
pub use request::decode_registration;
pub use router::build_cfgsync_router;
pub use serve::{bind_loopback, serve_cfgsync};
pub use state::CfgsyncServerState;
