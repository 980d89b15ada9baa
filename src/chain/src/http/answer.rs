//! Answer: what came back, whatever its status, and what it says as JSON.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::shape::{decode, snippet};
use crate::error::{SourceError, SourceErrorKind};

/// The answer to one request. Its statuses mean what the wire says, other than 401 and 403.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    pub(super) node: Arc<str>,
    pub(super) call: Arc<str>,
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl HttpAnswer {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What came with it.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The beginning of the body as text.
    pub fn snippet(&self) -> String {
        snippet(&String::from_utf8_lossy(&self.body))
    }

    /// What the body says, whatever it calls itself: nodes send JSON as text too.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, SourceError> {
        decode(&self.body).map_err(|kind| self.error(kind))
    }

    /// The failure of this call.
    pub fn error(&self, kind: SourceErrorKind) -> SourceError {
        SourceError::new(Arc::clone(&self.node), Arc::clone(&self.call), kind)
    }
}
