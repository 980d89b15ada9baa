//! Why artifacts could not be made.

use std::{any::Any, error::Error, sync::Arc};

use cfgsync_core::DynCfgsyncError;
use thiserror::Error;

use crate::CatalogError;

/// What kept an application from making artifacts. Shared by all requests that waited for them.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum MaterializeError {
    /// The application says so.
    #[error("the application could not make the artifacts")]
    Failed {
        /// The cause, in the application's words.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The application broke.
    #[error("the application panicked while it made the artifacts: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
    /// What it made contradicts itself.
    #[error("the artifacts that the application made cannot be served")]
    Contradictory {
        /// Where.
        source: CatalogError,
    },
}

impl MaterializeError {
    pub(crate) fn failed(error: DynCfgsyncError) -> Self {
        Self::Failed {
            source: Arc::from(error),
        }
    }

    /// From what `catch_unwind` caught.
    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "it did not say why".to_owned());
        Self::Panicked { message }
    }
}

impl From<CatalogError> for MaterializeError {
    fn from(source: CatalogError) -> Self {
        Self::Contradictory { source }
    }
}
