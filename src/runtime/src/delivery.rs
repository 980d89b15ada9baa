//! Config delivery by cfgsync: every cluster has a server of its own on loopback, and a node's files come from it and from nowhere else.
//!
//! What is registered and what the files are is the cluster's [`Rendering`]; how they travel is cfgsync's. Nodes that fetch for themselves and those for whom the harness fetches are served alike.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use cfgsync_adapter::{
    MaterializingConfigSource, NodeArtifacts, NodeArtifactsMaterializer, RegistrationSnapshot,
};
use cfgsync_core::{
    CfgsyncClient, CfgsyncServerState, DynCfgsyncError, NodeRegistration, serve_cfgsync,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};
use trellis_bootstrap::{
    ArtifactFile, ConfigChannel, ConfigDelivery, DynError, NodeRecord, Rendering, in_one_line,
};

/// How long a node may wait for its files; all that it waits for is others of its cluster that register at the same moment.
const FILES_WITHIN: Duration = Duration::from_secs(10);
