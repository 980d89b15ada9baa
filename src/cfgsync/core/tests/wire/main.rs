//! The wire: real servers, real clients and real sockets between them.

mod answers;
mod decoding;
mod limits;
mod long_poll;
mod model;
mod server;
mod source;
mod waiting;
