//! Outputs: which place on the disk each artifact belongs to.
//!
//! This room looks at the disk and changes nothing on it; `write` does.

mod error;
mod place;

use std::{collections::BTreeMap, path::PathBuf};

use cfgsync_artifacts::{ArtifactFile, ArtifactSet};

pub use error::{OutputError, PathProblem};
pub(crate) use place::folder_of;

/// What the names of our temporary files start with; no artifact may have such a name.
pub(crate) const TEMPORARY_PREFIX: &str = ".cfgsync-";

/// Where artifacts go: some by name, the others below a folder.
///
/// A route takes the artifact with exactly its path to the place that it names, wherever that is; a relative one starts at the current folder of the process.
/// An artifact without a route goes below the folder of [`under`](Self::under), by its own path, and cannot leave it.
/// A route that no artifact has is not used.
///
/// ```
/// use std::path::Path;
///
/// use cfgsync_artifacts::{ArtifactFile, ArtifactSet};
/// use cfgsync_runtime::ArtifactOutputMap;
///
/// let folder = tempfile::tempdir()?;
/// let outputs = ArtifactOutputMap::new()
///     .route("/config.yaml", folder.path().join("node.yaml"))
///     .under(folder.path().join("data"));
/// let files = ArtifactSet::new([
///     ArtifactFile::new("/config.yaml", "id: node-1\n"),
///     ArtifactFile::new("peers/all.yaml", "[]\n"),
/// ])?;
///
/// let targets: Vec<_> = outputs.resolve(&files)?.into_iter().map(|(target, _)| target).collect();
/// assert_eq!(targets[0], folder.path().join("node.yaml"));
/// assert_eq!(targets[1], folder.path().join("data/peers/all.yaml"));
///
/// let escaping = ArtifactSet::new([ArtifactFile::new("../outside", "")])?;
/// assert!(outputs.resolve(&escaping).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArtifactOutputMap {
    routes: Vec<(String, PathBuf)>,
    root: Option<PathBuf>,
}

impl ArtifactOutputMap {
    /// A map that takes no artifact anywhere.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same map, with the artifact `from` at `to`.
    #[must_use]
    pub fn route(mut self, from: impl Into<String>, to: impl Into<PathBuf>) -> Self {
        self.routes.push((from.into(), to.into()));
        self
    }

    /// The same map, with the artifacts that have no route below `folder`.
    #[must_use]
    pub fn under(self, folder: impl Into<PathBuf>) -> Self {
        Self {
            root: Some(folder.into()),
            ..self
        }
    }

    /// The place of each of `files`, in their order.
    ///
    /// Places are judged by what is on the disk now: whoever can change the folders in the meantime can lead a later write elsewhere.
    ///
    /// # Errors
    /// A path that leaves the folder, or whose place is taken by anything but a regular file, or that shares its place with another.
    /// A link below the folder is refused wherever it leads; the folder itself, and those in which routes end, may be reached over links.
    pub fn resolve<'a>(
        &self,
        files: &'a ArtifactSet,
    ) -> Result<Vec<(PathBuf, &'a ArtifactFile)>, OutputError> {
        let mut found = Vec::with_capacity(files.len());
        let mut places: BTreeMap<PathBuf, &str> = BTreeMap::new();
        for file in files {
            let target = self.target(&file.path)?;
            let place = place::of(&file.path, &target)?;
            if let Some(other) = places.insert(place, &file.path) {
                return Err(OutputError::Same {
                    path: file.path.clone(),
                    other: other.to_owned(),
                    target,
                });
            }
            found.push((target, file));
        }
        refuse_nested(&places)?;
        Ok(found)
    }

    fn target(&self, path: &str) -> Result<PathBuf, OutputError> {
        let mut routes = self.routes.iter().filter(|(from, _)| from == path);
        match (routes.next(), routes.next()) {
            (Some((_, to)), None) => place::named(path, to),
            (Some((_, to)), Some((_, other))) => Err(OutputError::TwoRoutes {
                path: path.to_owned(),
                target: to.clone(),
                other: other.clone(),
            }),
            (None, _) => place::below(self.root.as_deref(), path),
        }
    }
}

/// No file can be the folder of another.
fn refuse_nested(places: &BTreeMap<PathBuf, &str>) -> Result<(), OutputError> {
    for (place, path) in places {
        let above = place
            .ancestors()
            .skip(1)
            .find_map(|folder| places.get(folder));
        if let Some(other) = above {
            return Err(OutputError::Inside {
                path: (*path).to_owned(),
                other: (*other).to_owned(),
            });
        }
    }
    Ok(())
}
