//! Config delivery by cfgsync: every cluster has a server of its own on loopback, and its nodes' files come from there and from nowhere else.
//!
//! What the files are is the cluster's [`Rendering`]; how they travel is cfgsync's. The harness fetches for nodes that run as processes of this machine; one in a container fetches for itself, and is served alike.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use cfgsync_adapter::{
    CachedSnapshotMaterializer, DeploymentAdapter, DeploymentMaterializer, DynCfgsyncError,
    Expected, SnapshotConfigSource, TypedRegistration,
};
use cfgsync_core::{
    BearerToken, CfgsyncClient, CfgsyncServerState, ConfigStatus, NodeRegistration, RegisterError,
    bind_loopback, in_short, serve_cfgsync,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;
use trellis_bootstrap::{
    ArtifactFile, ConfigChannel, ConfigDelivery, DynError, NodeRecord, Rendering, in_one_line,
};

/// How long a node may wait for its files: what it waits for is others of its cluster, which register in the same moment.
const FILES_WITHIN: Duration = Duration::from_secs(10);

/// Opens a cfgsync server for each cluster, with a token of its own: every user of the machine reaches loopback, and nodes' files have secrets in them.
#[derive(Debug, Clone, Copy, Default)]
pub struct CfgsyncDelivery;

#[async_trait]
impl ConfigDelivery for CfgsyncDelivery {
    async fn open(&self, rendering: Arc<Rendering>) -> Result<Arc<dyn ConfigChannel>, DynError> {
        Ok(Arc::new(CfgsyncChannel::open(
            bind_loopback(0).await?,
            rendering,
        )?))
    }
}

/// A cluster's rendering as what cfgsync asks an application for.
struct Deployment(Arc<Rendering>);

impl DeploymentAdapter for Deployment {
    type Metadata = NodeRecord;

    fn expected(&self) -> Expected {
        Expected::nodes(self.0.expected().iter().map(ToString::to_string))
    }

    /// One registration that is no node's would keep the files of all from being made.
    fn admit(&self, identifier: &str) -> Result<(), RegisterError> {
        if self.0.admits(identifier) {
            return Ok(());
        }
        let known: Vec<String> = self.0.admitted().iter().map(ToString::to_string).collect();
        Err(RegisterError::Unknown {
            identifier: identifier.to_owned(),
            known: in_short(&known),
        })
    }

    fn artifacts(
        &self,
        node: &TypedRegistration<NodeRecord>,
        all: &[TypedRegistration<NodeRecord>],
    ) -> Result<Vec<ArtifactFile>, DynCfgsyncError> {
        let registered = all.iter().map(|other| &other.metadata);
        let files = self.0.files(&node.metadata, registered);
        // On its way through HTTP an error is its text, so all of it is in that.
        files.map_err(|error| in_one_line(&error).into())
    }
}

/// The server of one cluster, and a client of it. The server ends with it.
struct CfgsyncChannel {
    client: CfgsyncClient,
    closing: DropGuard,
    server: Mutex<Option<JoinHandle<()>>>,
}

impl CfgsyncChannel {
    fn open(listener: TcpListener, rendering: Arc<Rendering>) -> Result<Self, DynError> {
        let url = format!("http://{}", listener.local_addr()?);
        let materializer = DeploymentMaterializer::new(Deployment(rendering));
        let source = SnapshotConfigSource::new(CachedSnapshotMaterializer::new(materializer));
        let token = BearerToken::random();
        let state = CfgsyncServerState::new(Arc::new(source)).with_bearer_token(token.clone());
        let closing = CancellationToken::new();
        let closed = closing.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            if let Err(error) = serve_cfgsync(listener, state, closed).await {
                warn!(%error, "the cfgsync server of a cluster ended");
            }
        });
        Ok(Self {
            client: CfgsyncClient::new(url).with_bearer_token(token),
            closing: closing.drop_guard(),
            server: Mutex::new(Some(server)),
        })
    }
}

#[async_trait]
impl ConfigChannel for CfgsyncChannel {
    async fn register(&self, node: &NodeRecord) -> Result<(), DynError> {
        Ok(self.client.register_node(&registration(node)?).await?)
    }

    async fn fetch(&self, node: &NodeRecord) -> Result<Vec<ArtifactFile>, DynError> {
        let registration = registration(node)?;
        let asked = self.client.fetch_node_config_status(&registration).await?;
        let payload = if let ConfigStatus::Ready(payload) = asked {
            payload
        } else {
            let wait = self
                .client
                .wait_for_node_config(&registration, FILES_WITHIN);
            wait.await?
        };
        Ok(payload.files.into_iter().collect())
    }

    async fn close(&self) {
        self.closing.token().cancel();
        let server = self
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(server) = server {
            // A panic was a bug of the server; whoever needed it was told so by a failed request.
            let _ = server.await;
        }
    }
}

/// What a node says of itself. Its address is the one of its first endpoint.
fn registration(node: &NodeRecord) -> Result<NodeRegistration, DynError> {
    let host = node.plan.addresses.values().next();
    let ip = host.and_then(|address| address.host.parse().ok());
    let ip = ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Ok(NodeRegistration::new(node.plan.name.to_string(), ip).with_metadata(node)?)
}

#[cfg(test)]
mod tests;
