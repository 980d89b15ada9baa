//! The port to config delivery: nodes register, and get the files that were made for them among all that registered.
//!
//! What the files are is [`Rendering`]'s. How records and files travel is the adapter's, which is cfgsync in `trellis-runtime`.

use std::sync::Arc;

use async_trait::async_trait;
use cfgsync_artifacts::ArtifactFile;

use crate::{DynError, NodeRecord, Rendering};

/// Opens config delivery for clusters.
#[async_trait]
pub trait ConfigDelivery: Send + Sync + 'static {
    /// Opens delivery of what `rendering` makes, for one cluster.
    ///
    /// # Errors
    /// What keeps it from being served at all.
    async fn open(&self, rendering: Arc<Rendering>) -> Result<Arc<dyn ConfigChannel>, DynError>;
}

/// Config delivery of one cluster. May be called from several tasks at once.
#[async_trait]
pub trait ConfigChannel: Send + Sync + 'static {
    /// Makes `node` known, or known anew with what has changed.
    ///
    /// # Errors
    /// What keeps it from being told.
    async fn register(&self, node: &NodeRecord) -> Result<(), DynError>;

    /// The files of a registered node, as soon as every node that has to register has.
    ///
    /// # Errors
    /// Files that could not be made, with the reason, or nodes that did not register in time.
    ///
    /// # Cancel safety
    /// Dropping loses nothing.
    async fn fetch(&self, node: &NodeRecord) -> Result<Vec<ArtifactFile>, DynError>;

    /// Ends the delivery. May be called again.
    async fn close(&self);
}
