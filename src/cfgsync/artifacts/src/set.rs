//! A set of files: no two of them have one path.

use std::{collections::BTreeMap, slice, vec};

use serde::{Deserialize, Deserializer, Serialize, de};
use thiserror::Error;

use crate::ArtifactFile;

/// Files with different paths, in the order in which they were given.
///
/// Paths are compared to the letter: which of them mean the same place on a disk is known to whoever writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ArtifactSet(Vec<ArtifactFile>);

/// Two files for one path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("two artifacts have the path {path:?}; a path can be delivered once")]
pub struct ArtifactConflict {
    /// The path.
    pub path: String,
}

impl ArtifactSet {
    /// A set of `files`.
    ///
    /// # Errors
    /// A path that two of them have.
    pub fn new(files: impl IntoIterator<Item = ArtifactFile>) -> Result<Self, ArtifactConflict> {
        let files: Vec<ArtifactFile> = files.into_iter().collect();
        let mut paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        paths.sort_unstable();
        match paths.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(Self(files)),
            Some(pair) => Err(ArtifactConflict {
                path: pair[0].to_owned(),
            }),
        }
    }

    /// The files of both. A file that both have, to the letter, is one file.
    ///
    /// # Errors
    /// A path under which they have different files.
    pub fn merge(self, other: Self) -> Result<Self, ArtifactConflict> {
        let known: BTreeMap<&str, &ArtifactFile> = self.iter().map(by_path).collect();
        let new: Vec<ArtifactFile> = other
            .0
            .into_iter()
            .filter(|file| known.get(file.path.as_str()) != Some(&file))
            .collect();
        Self::new(self.0.into_iter().chain(new))
    }

    /// The file with this path.
    pub fn get(&self, path: &str) -> Option<&ArtifactFile> {
        self.iter().find(|file| file.path == path)
    }

    /// The files.
    pub fn iter(&self) -> slice::Iter<'_, ArtifactFile> {
        self.0.iter()
    }

    /// How many files.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn by_path(file: &ArtifactFile) -> (&str, &ArtifactFile) {
    (&file.path, file)
}

impl IntoIterator for ArtifactSet {
    type Item = ArtifactFile;
    type IntoIter = vec::IntoIter<ArtifactFile>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a ArtifactSet {
    type Item = &'a ArtifactFile;
    type IntoIter = slice::Iter<'a, ArtifactFile>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'de> Deserialize<'de> for ArtifactSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let files = Vec::deserialize(deserializer)?;
        Self::new(files).map_err(de::Error::custom)
    }
}
