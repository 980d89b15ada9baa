//! Registration: what a node says of itself when it asks for its configuration.

use std::net::IpAddr;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use thiserror::Error;

/// A node that wants its configuration: the body of `POST /register` and of `POST /node`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRegistration {
    /// The node's name, the same at every start.
    pub identifier: String,
    /// The address at which others reach it, which may be another after a restart.
    pub ip: IpAddr,
    /// What the application wants to know of it.
    #[serde(default, skip_serializing_if = "RegistrationPayload::is_empty")]
    pub metadata: RegistrationPayload,
}

/// What an application wants to know of a node: any JSON, carried as it is and given a type by the application's adapter only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RegistrationPayload(Value);

/// Metadata that does not fit the type that is asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// A value that JSON has no form for.
    #[error("the metadata of {identifier:?} cannot be written as JSON")]
    Unwritable {
        /// The node.
        identifier: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// Metadata of another shape.
    #[error("the metadata of {identifier:?} is not what the application expects")]
    Unexpected {
        /// The node.
        identifier: String,
        /// The cause, with the place in the JSON.
        source: serde_json::Error,
    },
}

impl NodeRegistration {
    /// A registration without metadata.
    pub fn new(identifier: impl Into<String>, ip: IpAddr) -> Self {
        Self {
            identifier: identifier.into(),
            ip,
            metadata: RegistrationPayload::default(),
        }
    }

    /// The same registration with `metadata`.
    ///
    /// # Errors
    /// [`MetadataError::Unwritable`], such as for a map whose keys are no strings.
    pub fn with_metadata<T: Serialize>(self, metadata: &T) -> Result<Self, MetadataError> {
        match serde_json::to_value(metadata) {
            Ok(value) => Ok(Self {
                metadata: RegistrationPayload(value),
                ..self
            }),
            Err(source) => Err(MetadataError::Unwritable {
                identifier: self.identifier,
                source,
            }),
        }
    }

    /// The metadata as a `T`; a node without any has JSON's `null`.
    ///
    /// # Errors
    /// [`MetadataError::Unexpected`] with the place that does not fit.
    pub fn metadata<T: DeserializeOwned>(&self) -> Result<T, MetadataError> {
        T::deserialize(&self.metadata.0).map_err(|source| MetadataError::Unexpected {
            identifier: self.identifier.clone(),
            source,
        })
    }
}

impl RegistrationPayload {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_null()
    }

    /// The JSON as it came.
    pub fn as_json(&self) -> &Value {
        &self.0
    }
}
