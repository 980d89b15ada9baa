//! Limits: how much of a server's answers and of its time a client takes.

use std::time::Duration;

/// How much a client takes from its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientLimits {
    /// Of a payload, in bytes.
    pub body_bytes_max: usize,
    /// How long a connection may take to be made.
    pub connect_within: Duration,
    /// How long an answer may take, beside the time for which the request asks to be held.
    pub answer_within: Duration,
    /// How long one request asks to be held, in whole seconds. A node that a server forgot by restarting registers again after that at the latest.
    pub hold: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 * 1024 * 1024,
            connect_within: Duration::from_secs(5),
            answer_within: Duration::from_secs(10),
            hold: Duration::from_secs(20),
        }
    }
}
