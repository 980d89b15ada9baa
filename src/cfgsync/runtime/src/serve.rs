//! Serving: a server in operation, from what it serves to its last request.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use cfgsync_adapter::{
    CachedSnapshotMaterializer, RegistrationSnapshotMaterializer, SnapshotConfigSource,
};
use cfgsync_core::{CfgsyncServerState, bind_loopback, serve_cfgsync};
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};

use crate::{CfgsyncServerConfig, ServerConfigError};

/// How many connections may wait to be taken.
const BACKLOG: u32 = 4096;

/// Why a server did not serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Its configuration cannot be used.
    #[error("the configuration of the server cannot be used")]
    Config(#[from] ServerConfigError),
    /// Its address cannot be used.
    #[error(
        "cannot listen on {address}; another process may have the port, which `ss -ltnp` shows, or this machine not the address"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// It ended by itself.
    #[error("the server on {address} ended")]
    Ended {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
}

/// A server that listens and does not serve yet.
#[must_use]
pub struct ListeningCfgsync {
    listener: TcpListener,
    address: SocketAddr,
    state: CfgsyncServerState,
}

impl ListeningCfgsync {
    /// Reads everything that `config` names and takes the port.
    ///
    /// # Errors
    /// Files that cannot be used, or an address that is taken.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(config: &CfgsyncServerConfig) -> Result<Self, ServeError> {
        let mut state = CfgsyncServerState::new(config.open()?);
        if let Some(token) = config.token()? {
            state = state.with_bearer_token(token);
        }
        let address = config.address();
        let bound = listen(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|source| ServeError::Listen { address, source })?;
        Ok(Self {
            listener,
            address,
            state,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is done and the requests under way have ended.
    ///
    /// # Errors
    /// [`ServeError::Ended`].
    ///
    /// # Cancel safety
    /// Dropping closes the listener and all connections at once.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let address = self.address;
        let served = serve_cfgsync(self.listener, self.state, shutdown).await;
        served.map_err(|source| ServeError::Ended { address, source })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A server that starts again finds its port still in use by connections that ended just now.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves what a configuration file names, until it is dropped.
///
/// # Errors
/// A configuration that cannot be used, or a port that is taken.
///
/// # Cancel safety
/// Dropping closes the listener and all connections at once.
pub async fn serve_cfgsync_from_config(config: impl AsRef<Path>) -> Result<(), ServeError> {
    let config = CfgsyncServerConfig::from_file(config)?;
    let listening = ListeningCfgsync::open(&config)?;
    listening.serve(std::future::pending()).await
}

/// Serves what `materializer` makes of the registered nodes, on loopback, until it is dropped. With port 0 the system chooses one, which is logged.
///
/// For any other address, or to end it in good order, use `serve_cfgsync` of `cfgsync-core` with a [`SnapshotConfigSource`].
///
/// # Errors
/// A port that is taken.
///
/// # Cancel safety
/// Dropping closes the listener and all connections at once.
pub async fn serve_snapshot_cfgsync(
    port: u16,
    materializer: impl RegistrationSnapshotMaterializer,
) -> Result<(), ServeError> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = bind_loopback(port)
        .await
        .map_err(|source| ServeError::Listen { address, source })?;
    let source = SnapshotConfigSource::new(CachedSnapshotMaterializer::new(materializer));
    let state = CfgsyncServerState::new(Arc::new(source));
    let served = serve_cfgsync(listener, state, std::future::pending()).await;
    served.map_err(|source| ServeError::Ended { address, source })
}
