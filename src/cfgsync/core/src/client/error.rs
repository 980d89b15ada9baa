//! Errors of the client: what a node is told when it does not get its configuration.

use std::{sync::Arc, time::Duration};

use thiserror::Error;

use super::progress::WaitState;
use crate::SCHEMA_VERSION;

/// Why a node did not get what it asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The URL cannot be used.
    #[error(
        "{url:?} is not the URL of a cfgsync server: {problem}; one is like http://127.0.0.1:4400"
    )]
    Url {
        /// The URL.
        url: String,
        /// Why not.
        problem: String,
    },
    /// The URL has a secret in it, which would reach messages and logs.
    #[error(
        "the URL of a cfgsync server must not have a user or password in it; a server that wants a secret wants a bearer token"
    )]
    Credentials,
    /// The token cannot be sent.
    #[error("the bearer token has characters that cannot be in a header")]
    Token,
    /// The HTTP client cannot be made.
    #[error("no HTTP client can be made")]
    Unusable {
        /// The cause.
        source: Arc<reqwest::Error>,
    },
    /// Nobody answers there: the server is not up yet, or not there.
    #[error("server not up yet: nothing answers at {url}")]
    Unreachable {
        /// The URL.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The server was there and then was not, or took too long.
    #[error("the server at {url} did not finish its answer")]
    Interrupted {
        /// The URL.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The configuration is not ready now.
    #[error("the configuration of {identifier:?} is not there yet: {message}")]
    NotReady {
        /// The node.
        identifier: String,
        /// What it waits for.
        message: String,
    },
    /// The server has none for this node.
    #[error("unknown node {identifier:?}: {message}")]
    UnknownNode {
        /// The node.
        identifier: String,
        /// What the server knows.
        message: String,
    },
    /// The server failed.
    #[error("server error ({status}): {message}")]
    Server {
        /// The status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The server has no room now.
    #[error("the server is full ({code}): {message}")]
    Busy {
        /// Its word for it.
        code: String,
        /// What it said.
        message: String,
    },
    /// The server refuses the request, and would again.
    #[error("the server refuses the request ({status} {code}): {message}")]
    Refused {
        /// The status.
        status: u16,
        /// Its word for it.
        code: String,
        /// What it said.
        message: String,
    },
    /// The answer is none that a cfgsync server gives.
    #[error("{url} answered {status}, but not as a cfgsync server does: {problem}")]
    Foreign {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
        /// What is wrong with it.
        problem: String,
    },
    /// The answer is larger than this client takes.
    #[error("the answer has more than {limit} bytes, which is the limit of this client")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The payload is in a form of another version.
    #[error("the payload has schema version {version}; this client reads version {SCHEMA_VERSION}")]
    Schema {
        /// Its version.
        version: u16,
    },
    /// The time was up.
    #[error("waited {within:?} for the configuration of {identifier:?}; last state: {last}")]
    TimedOut {
        /// The node.
        identifier: String,
        /// How long it waited, which is how long it was to wait.
        within: Duration,
        /// How it was then.
        last: WaitState,
    },
}
