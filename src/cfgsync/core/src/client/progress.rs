//! Progress: what a node that waits for its configuration waits for.

use std::{error::Error, fmt, iter, time::Duration};

use super::error::ClientError;

/// What a client tells while it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitProgress {
    /// The node.
    pub identifier: String,
    /// For how long it has been waiting.
    pub waited: Duration,
    /// What for.
    pub state: WaitState,
}

/// What keeps a node from its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitState {
    /// No answer has come yet to the first question.
    Asking,
    /// Nothing answers, or the server went away.
    Unreachable {
        /// How that showed.
        reason: String,
    },
    /// Others have to register first, or whatever else the application wants.
    NotReady {
        /// What the server said.
        message: String,
    },
    /// The server does not know the node, or no longer.
    Unknown {
        /// What the server said.
        message: String,
    },
    /// The server has no room now.
    Busy {
        /// What the server said.
        message: String,
    },
    /// The server failed.
    ServerError {
        /// What the server said.
        message: String,
    },
}

impl WaitState {
    /// Whether the server has said what the node waits for.
    pub(crate) fn is_known(&self) -> bool {
        matches!(self, Self::NotReady { .. })
    }

    /// What `error` says about a wait that goes on; the error where it ends one.
    pub(crate) fn of(error: ClientError) -> Result<Self, ClientError> {
        match error {
            error @ (ClientError::Unreachable { .. } | ClientError::Interrupted { .. }) => {
                Ok(Self::Unreachable {
                    reason: in_one_line(&error),
                })
            }
            error @ ClientError::Server { .. } => Ok(Self::ServerError {
                message: error.to_string(),
            }),
            error @ ClientError::Busy { .. } => Ok(Self::Busy {
                message: error.to_string(),
            }),
            error => Err(error),
        }
    }
}

impl fmt::Display for WaitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asking => f.write_str("the server was asked and has not answered"),
            Self::Unreachable { reason: text }
            | Self::NotReady { message: text }
            | Self::Busy { message: text }
            | Self::ServerError { message: text } => f.write_str(text),
            Self::Unknown { message } => write!(f, "unknown node: {message}"),
        }
    }
}

/// `server not up yet: nothing answers at ..: client error (Connect): tcp connect error: Connection refused`.
fn in_one_line(error: &ClientError) -> String {
    // The outermost layer of the HTTP client says no more than the error does.
    let first = error.source().and_then(Error::source);
    let causes = iter::successors(first, |&cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
