//! Limits: how much of everything a server takes, so that no client can make it grow.
//!
//! How many nodes may register is the source's limit (see [`crate::RegistrationLimits`]).

use std::time::Duration;

/// How much a server takes. What is over a limit is refused with a body that says so.
///
/// Request heads have one more limit, far above these, which the HTTP library keeps by itself: 512 headers and 64 KiB.
/// A head beyond that is answered 431 without a body, and the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// Of a request's body, in bytes; over it: 413.
    pub body_bytes_max: usize,
    /// Of an identifier, in bytes; over it: 413.
    pub identifier_bytes_max: usize,
    /// How many headers a request has; over it: 413.
    pub headers_max: usize,
    /// Names and values of a request's headers together, in bytes; over it: 413.
    pub headers_bytes_max: usize,
    /// How long a request's head or body may take to arrive; over it the connection is closed, or answered 408.
    pub read_within: Duration,
    /// How long a request is held at most, whatever it asks for; also how long a source may take to answer one that does not ask for it.
    pub hold_max: Duration,
    /// How many requests are held at a time; one too many is answered at once, as though it had not asked to be held.
    pub held_max: usize,
    /// How many connections are open at a time; others wait until one is closed.
    pub connections_max: usize,
    /// How long requests under way may take to end when the server does.
    pub drain_within: Duration,
    /// Of answers that are kept as they are sent, in bytes, so that one that many nodes get is written once.
    pub kept_bytes_max: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 * 1024,
            identifier_bytes_max: 253,
            headers_max: 64,
            headers_bytes_max: 16 * 1024,
            read_within: Duration::from_secs(10),
            hold_max: Duration::from_mins(1),
            held_max: 16_384,
            connections_max: 32_768,
            drain_within: Duration::from_secs(5),
            kept_bytes_max: 32 * 1024 * 1024,
        }
    }
}
