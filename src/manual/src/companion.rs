//! Companions: who goes along with a cluster while it is kept, such as whoever keeps a record of it.

use async_trait::async_trait;
use trellis_runtime::Cluster;

/// Somebody who wants to know when a cluster is up, and to be done before its nodes are ended.
#[async_trait]
pub trait Companion: Send + Sync + 'static {
    /// The cluster is up.
    async fn begin(&self, cluster: &Cluster);

    /// The cluster is about to be ended; its nodes are as they are until this returns.
    async fn end(&self);
}
