//! Fetching: from a registration to files on a disk.

use std::{path::PathBuf, time::Duration};

use cfgsync_artifacts::ArtifactSet;
use cfgsync_core::{CfgsyncClient, ClientError, NodeRegistration};
use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::{ArtifactOutputMap, WriteError, write_artifacts};

/// How long a node waits for its configuration unless it is said.
pub const FETCH_WITHIN: Duration = Duration::from_mins(5);

/// Why a node did not get its files.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// They did not come.
    #[error("the configuration of {identifier:?} was not fetched")]
    Fetch {
        /// The node.
        identifier: String,
        /// Why.
        source: ClientError,
    },
    /// They came and could not be written; none of them was.
    #[error("the files of {identifier:?} were fetched and not written")]
    Write {
        /// The node.
        identifier: String,
        /// Why.
        source: WriteError,
    },
}

/// Registers the node with the server at `server`, waits for its configuration for [`FETCH_WITHIN`] at most, and gives its files.
///
/// # Errors
/// [`FetchError::Fetch`], with what was waited for last.
///
/// # Cancel safety
/// Dropping loses nothing; the node may be registered.
pub async fn register_and_fetch_artifacts(
    registration: &NodeRegistration,
    server: &str,
) -> Result<ArtifactSet, FetchError> {
    fetch_with(&CfgsyncClient::new(server), registration, FETCH_WITHIN).await
}

/// As [`register_and_fetch_artifacts`], and writes the files to where `outputs` sends them, all or none.
///
/// # Errors
/// [`FetchError`].
///
/// # Cancel safety
/// Dropping while files are written lets them be written to the end, as long as the process lives.
pub async fn fetch_and_write_artifacts(
    registration: &NodeRegistration,
    server: &str,
    outputs: &ArtifactOutputMap,
) -> Result<Vec<PathBuf>, FetchError> {
    let client = CfgsyncClient::new(server);
    fetch_and_write_with(&client, registration, FETCH_WITHIN, outputs).await
}

/// As [`fetch_and_write_artifacts`], with a client that was made for the purpose (its token, its limits, who is told meanwhile), and within another time.
///
/// # Errors
/// [`FetchError`].
///
/// # Cancel safety
/// As for [`fetch_and_write_artifacts`].
pub async fn fetch_and_write_with(
    client: &CfgsyncClient,
    registration: &NodeRegistration,
    within: Duration,
    outputs: &ArtifactOutputMap,
) -> Result<Vec<PathBuf>, FetchError> {
    let files = fetch_with(client, registration, within).await?;
    write(registration, files, outputs).await
}

/// Writes what was fetched.
///
/// # Cancel safety
/// Dropping lets the files be written to the end, as long as the process lives.
pub(crate) async fn write(
    registration: &NodeRegistration,
    files: ArtifactSet,
    outputs: &ArtifactOutputMap,
) -> Result<Vec<PathBuf>, FetchError> {
    let outputs = outputs.clone();
    let written = spawn_blocking(move || write_artifacts(&files, &outputs)).await;
    let written = written.expect("writing does not panic, and is not aborted");
    written.map_err(|source| FetchError::Write {
        identifier: registration.identifier.clone(),
        source,
    })
}

pub(crate) async fn fetch_with(
    client: &CfgsyncClient,
    registration: &NodeRegistration,
    within: Duration,
) -> Result<ArtifactSet, FetchError> {
    let fetched = client.wait_for_node_config(registration, within).await;
    let payload = fetched.map_err(|source| FetchError::Fetch {
        identifier: registration.identifier.clone(),
        source,
    })?;
    Ok(payload.files)
}
