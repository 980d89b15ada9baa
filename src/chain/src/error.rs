//! Source error: why a node gave no answer that can be used, and what to do about it.

use std::{error::Error, fmt, path::PathBuf, sync::Arc, time::Duration};

use thiserror::Error;

/// A call to a node that failed: where, and why.
#[derive(Clone, Debug)]
pub struct SourceError {
    /// The node.
    pub node: Arc<str>,
    /// What was asked, as the wire calls it: `GET /cryptarchia/info`, `getblockheader`.
    pub call: Arc<str>,
    /// Why there is no answer.
    pub kind: SourceErrorKind,
}

impl SourceError {
    /// The failure of `call` at `node`.
    pub fn new(
        node: impl Into<Arc<str>>,
        call: impl Into<Arc<str>>,
        kind: SourceErrorKind,
    ) -> Self {
        Self {
            node: node.into(),
            call: call.into(),
            kind,
        }
    }

    /// Whether the node answered, although not with what was asked for.
    pub fn is_answer(&self) -> bool {
        matches!(
            self.kind,
            SourceErrorKind::Node { .. }
                | SourceErrorKind::WrongShape { .. }
                | SourceErrorKind::Unauthorised { .. }
                | SourceErrorKind::TooLarge { .. }
        )
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, call, kind } = self;
        write!(f, "{node}: {call}: {kind}; {}", kind.hint())
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// Why there is no answer that can be used.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum SourceErrorKind {
    /// Nobody listens there, or the host cannot be found.
    #[error("no connection")]
    Refused {
        /// What the client said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The connection ended in the middle, or TLS failed.
    #[error("the connection broke")]
    Broken {
        /// What the client said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("no answer within {within:?}")]
    TimedOut {
        /// The time that it had.
        within: Duration,
    },
    /// The node wants to know who asks, or did not believe it.
    #[error("not authorised (HTTP {status})")]
    Unauthorised {
        /// 401 or 403.
        status: u16,
    },
    /// What to prove who asks with cannot be read, so that nobody was asked.
    #[error("no credential in {path}")]
    NoCredential {
        /// The file it should be in.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The answer is not one that this wire has.
    #[error("an answer of another shape at {path}: expected {expected}, found {snippet}")]
    WrongShape {
        /// Where in the answer: `cryptarchia_info.tip`, or `$` for all of it.
        path: String,
        /// The beginning of what was there.
        snippet: String,
        /// What belongs there.
        expected: String,
    },
    /// The node answered with an error.
    #[error("the node says {code}: {message}")]
    Node {
        /// The error code of the wire, or the HTTP status.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// More than is read.
    #[error("an answer of more than {bytes_max} bytes")]
    TooLarge {
        /// What is read at most.
        bytes_max: u64,
    },
    /// The wire has no such call.
    #[error("not a call of this wire")]
    Unsupported,
}

impl SourceErrorKind {
    /// What to try.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "is the node running, and is this its address?",
            Self::Broken { .. } => "did the node end, or does the address want https?",
            Self::TimedOut { .. } => "is the node overloaded, or behind a firewall?",
            Self::Unauthorised { .. } => "check user and password, or the cookie file",
            Self::NoCredential { .. } => "a node writes its cookie file when it starts",
            Self::WrongShape { .. } => "is this the right port, and a version that is known?",
            Self::Node { .. } => "the log of the node may say more",
            Self::TooLarge { .. } => "ask for less at once, or raise the limit",
            Self::Unsupported => "this cannot be asked of nodes of this kind",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_error_names_node_call_reason_and_what_to_try_and_leaves_the_cause_to_the_chain() {
        let cause = io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
        let source = Arc::new(cause);
        let error = SourceError::new("NODE_1", "GET /info", SourceErrorKind::Refused { source });

        assert_eq!(
            error.to_string(),
            "NODE_1: GET /info: no connection; is the node running, and is this its address?"
        );
        assert_eq!(error.source().unwrap().to_string(), "connection refused");
    }
}
