//! Logos: sources held against a server that answers as nodes of each generation do.
//!
//! What the answers are is in `tests/captured`. A real server on a real socket gives them; what
//! only a server in trouble shows is served by hand, in the room that asks for it.

mod captured;
mod failures;
mod generations;
mod streams;
mod tls;
mod wallets;
