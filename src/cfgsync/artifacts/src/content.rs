//! Content: what is in an artifact, text or bytes.

use std::{
    fmt,
    hash::{Hash, Hasher},
};

/// What is in a file.
///
/// On the wire, text is a string as it is; bytes that are no text are Base64 (see [`crate::ArtifactFile`]).
#[derive(Clone)]
pub enum ArtifactContent {
    /// UTF-8 text.
    Text(String),
    /// Anything else.
    Binary(Vec<u8>),
}

impl ArtifactContent {
    /// As bytes, whichever it is.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// As text, unless it is none.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// By bytes: text that came as bytes is the same content.
impl PartialEq for ArtifactContent {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ArtifactContent {}

impl Hash for ArtifactContent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl From<String> for ArtifactContent {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for ArtifactContent {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Bytes that happen to be text count as text, so that they stay readable on the wire.
impl From<Vec<u8>> for ArtifactContent {
    fn from(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Binary(error.into_bytes()),
        }
    }
}

/// Shows the length only: contents may hold keys.
impl fmt::Debug for ArtifactContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Text(_) => "text",
            Self::Binary(_) => "binary",
        };
        write!(f, "{} bytes of {kind}", self.len())
    }
}
