//! Find: which `trellis.toml` is meant when nobody says so.

use std::{
    fs,
    path::{Path, PathBuf},
};

use toml::de::DeTable;

/// What the file is called.
pub const FILE_NAME: &str = "trellis.toml";

/// The nearest file in `start` and the folders above it.
///
/// The walk ends at the root of the cargo workspace, so that a project never takes up the settings of whatever it is checked out in; outside of one it ends at the root of the file system.
pub(crate) fn nearest(start: &Path) -> Option<PathBuf> {
    // A relative folder has fewer ancestors than there are.
    let start = std::path::absolute(start).ok()?;
    for folder in start.ancestors() {
        let file = folder.join(FILE_NAME);
        if file.is_file() {
            return Some(file);
        }
        if is_workspace_root(folder) {
            return None;
        }
    }
    None
}

fn is_workspace_root(folder: &Path) -> bool {
    fs::read_to_string(folder.join("Cargo.toml"))
        .ok()
        .is_some_and(|text| {
            let (manifest, _) = DeTable::parse_recoverable(&text);
            manifest.get_ref().contains_key("workspace")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_is_taken_and_none_from_above_the_workspace() {
        let root = tempfile::tempdir().unwrap();
        let workspace = root.path().join("workspace");
        let krate = workspace.join("krate");
        let features = krate.join("features");
        fs::create_dir_all(&features).unwrap();
        let write = |folder: &Path, name: &str, text: &str| {
            fs::write(folder.join(name), text).unwrap();
            folder.join(name)
        };
        let outer = write(root.path(), FILE_NAME, "");
        write(&krate, "Cargo.toml", "[package]\nname = \"krate\"\n");
        assert_eq!(nearest(&features), Some(outer));

        write(&workspace, "Cargo.toml", "[workspace]\nmembers = []\n");
        assert_eq!(nearest(&features), None);

        let shared = write(&workspace, FILE_NAME, "");
        assert_eq!(nearest(&features), Some(shared));
        let own = write(&krate, FILE_NAME, "");
        assert_eq!(nearest(&features), Some(own));
    }
}
