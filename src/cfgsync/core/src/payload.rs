//! Payload: the files of one node as they travel.

use cfgsync_artifacts::ArtifactSet;
use serde::{Deserialize, Serialize};

/// The version of [`NodeArtifactsPayload`] that this crate writes and reads.
pub const SCHEMA_VERSION: u16 = 1;

/// What a node gets when its configuration is ready: the body of a 200 to `POST /node`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeArtifactsPayload {
    /// Which form this is in; see [`SCHEMA_VERSION`].
    pub schema_version: u16,
    /// All files of the node, those that it shares with others included.
    pub files: ArtifactSet,
}

impl NodeArtifactsPayload {
    /// `files` in the form of this version.
    pub fn new(files: ArtifactSet) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            files,
        }
    }
}
