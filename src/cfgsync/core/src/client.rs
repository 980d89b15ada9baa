//! Client: what a node does to get its configuration.
//!
//! What it then does with the files is `cfgsync-runtime`'s or its own business.

mod backoff;
mod error;
mod http;
mod limits;
mod progress;
mod wait;

use std::{fmt, sync::Arc};

pub use error::ClientError;
pub use limits::ClientLimits;
pub use progress::{WaitProgress, WaitState};

use self::http::{Answer, Http};
use crate::{BearerToken, NodeArtifactsPayload, NodeRegistration, SCHEMA_VERSION};

/// A client of one cfgsync server. Cheap to clone; clones share their connections.
///
/// It goes straight to the server: proxies of the environment are ignored and redirects are not followed.
#[derive(Clone)]
#[must_use]
pub struct CfgsyncClient {
    http: Http,
    progress: Option<Arc<Report>>,
}

type Report = dyn Fn(&WaitProgress) + Send + Sync;

/// What a server says of a node's configuration now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigStatus {
    /// There it is.
    Ready(NodeArtifactsPayload),
    /// There will be one.
    NotReady {
        /// What it waits for, such as `not ready: 3 of 5 registered, missing node-4, node-5`.
        message: String,
    },
    /// There is none for this node.
    Missing {
        /// What the server knows.
        message: String,
    },
}

impl CfgsyncClient {
    /// A client of the server at `base_url`, such as `http://127.0.0.1:4400`. Nothing is sent yet; a URL that cannot be used is reported by whatever is asked first.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self {
            http: Http::new(base_url.into()),
            progress: None,
        }
    }

    /// The same client under `limits`.
    pub fn with_limits(self, limits: ClientLimits) -> Self {
        Self {
            http: self.http.with_limits(limits),
            ..self
        }
    }

    /// The same client of a server that wants `token`.
    pub fn with_bearer_token(self, token: impl Into<BearerToken>) -> Self {
        Self {
            http: self.http.with_token(token.into()),
            ..self
        }
    }

    /// The same client, which says what it waits for whenever that changes.
    pub fn with_progress(self, report: impl Fn(&WaitProgress) + Send + Sync + 'static) -> Self {
        Self {
            progress: Some(Arc::new(report)),
            ..self
        }
    }

    /// Registers the node. Can be done any number of times; one that differs from the last one replaces it.
    ///
    /// # Errors
    /// [`ClientError::UnknownNode`] where the server knows its nodes beforehand, or what keeps the server from answering.
    ///
    /// # Cancel safety
    /// A dropped call has registered the node or has not; it can be made again.
    pub async fn register_node(&self, registration: &NodeRegistration) -> Result<(), ClientError> {
        self.http.register(registration).await
    }

    /// The configuration of the node as it is now.
    ///
    /// # Errors
    /// [`ClientError::NotReady`] and [`ClientError::UnknownNode`] among others; see [`CfgsyncClient::fetch_node_config_status`] for these as values.
    ///
    /// # Cancel safety
    /// Dropping loses nothing.
    pub async fn fetch_node_config(
        &self,
        registration: &NodeRegistration,
    ) -> Result<NodeArtifactsPayload, ClientError> {
        let identifier = registration.identifier.clone();
        match self.fetch_node_config_status(registration).await? {
            ConfigStatus::Ready(payload) => Ok(payload),
            ConfigStatus::NotReady { message } => Err(ClientError::NotReady {
                identifier,
                message,
            }),
            ConfigStatus::Missing { message } => Err(ClientError::UnknownNode {
                identifier,
                message,
            }),
        }
    }

    /// Whether the node's configuration is ready now, and if so, what it is.
    ///
    /// # Errors
    /// What keeps the server from answering, and [`ClientError::Schema`] for a payload in another form.
    ///
    /// # Cancel safety
    /// Dropping loses nothing.
    pub async fn fetch_node_config_status(
        &self,
        registration: &NodeRegistration,
    ) -> Result<ConfigStatus, ClientError> {
        let Answer { status, .. } = self.http.node(registration, None).await?;
        supported(status)
    }
}

/// A payload of another version may mean something else by the same words.
fn supported(status: ConfigStatus) -> Result<ConfigStatus, ClientError> {
    match status {
        ConfigStatus::Ready(payload) if payload.schema_version != SCHEMA_VERSION => {
            Err(ClientError::Schema {
                version: payload.schema_version,
            })
        }
        status => Ok(status),
    }
}

impl fmt::Debug for CfgsyncClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CfgsyncClient")
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}
