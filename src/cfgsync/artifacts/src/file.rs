//! One file: where it belongs, what is in it, who may read it.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::ArtifactContent;

/// A file that a node needs in order to start.
///
/// On the wire: `{"path": "node.yaml", "content": "a: 1\n"}`, with `"mode": "0600"` where it has one and `"encoding": "base64"` where the content is no text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ArtifactFile {
    /// Where the file belongs, in the terms of whoever made it; the receiver decides what that means on its disk.
    pub path: String,
    /// What is in it.
    pub content: ArtifactContent,
    /// Its permission bits; the receiver's default where there are none.
    pub mode: Option<FileMode>,
}

impl ArtifactFile {
    /// A file with the receiver's default permissions.
    pub fn new(path: impl Into<String>, content: impl Into<ArtifactContent>) -> Self {
        Self {
            path: path.into(),
            content: content.into(),
            mode: None,
        }
    }

    /// The same file with these permission bits.
    #[must_use]
    pub fn with_mode(self, mode: FileMode) -> Self {
        Self {
            mode: Some(mode),
            ..self
        }
    }
}

/// Permission bits, `0o000` to `0o777`; neither set-user-id, set-group-id nor sticky.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileMode(u16);

/// Permission bits that are none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("file mode {0:?} is not an octal number from \"0000\" to \"0777\"")]
pub struct FileModeError(String);

impl FileMode {
    /// Read and written by its owner, read by all.
    pub const PUBLIC: Self = Self(0o644);
    /// Read and written by its owner only.
    pub const PRIVATE: Self = Self(0o600);
    /// A program for all.
    pub const PROGRAM: Self = Self(0o755);

    /// From a number.
    ///
    /// # Errors
    /// More bits than the nine of permissions.
    pub fn new(bits: u32) -> Result<Self, FileModeError> {
        match u16::try_from(bits) {
            Ok(bits @ 0..=0o777) => Ok(Self(bits)),
            _ => Err(FileModeError(format!("{bits:o}"))),
        }
    }

    /// As a number.
    pub fn bits(self) -> u32 {
        u32::from(self.0)
    }
}

/// Four octal digits, as `chmod` takes them.
impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl FromStr for FileMode {
    type Err = FileModeError;

    fn from_str(text: &str) -> Result<Self, FileModeError> {
        let refused = || FileModeError(text.to_owned());
        let digits = text.strip_prefix("0o").unwrap_or(text);
        // `from_str_radix` would take a sign.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused());
        }
        let bits = u32::from_str_radix(digits, 8).map_err(|_| refused())?;
        Self::new(bits).map_err(|_| refused())
    }
}

/// Always a string: JSON has no octal numbers, and readers of YAML disagree about `0600`.
impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Base64,
}

#[derive(Serialize)]
struct WrittenFile<'a> {
    path: &'a str,
    content: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<Encoding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<FileMode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadFile {
    path: String,
    content: String,
    encoding: Option<Encoding>,
    mode: Option<FileMode>,
}

impl Serialize for ArtifactFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (content, encoding) = match &self.content {
            ArtifactContent::Text(text) => (text.into(), None),
            ArtifactContent::Binary(bytes) => (BASE64.encode(bytes).into(), Some(Encoding::Base64)),
        };
        let written = WrittenFile {
            path: &self.path,
            content,
            encoding,
            mode: self.mode,
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ArtifactFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ReadFile {
            path,
            content,
            encoding,
            mode,
        } = ReadFile::deserialize(deserializer)?;
        let content = match encoding {
            None => ArtifactContent::Text(content),
            Some(Encoding::Base64) => BASE64
                .decode(&content)
                .map_err(|error| {
                    de::Error::custom(format!("the content of {path:?} is not Base64: {error}"))
                })?
                .into(),
        };
        Ok(Self {
            path,
            content,
            mode,
        })
    }
}
