//! Artifacts: the files of a node's configuration folder, written all or none.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use trellis_bootstrap::{ArtifactFile, Doing, FileMode, ProviderError};
use trellis_domain::NodeName;

use crate::files::{At as _, FileError, replace_folder};

/// Makes `config` hold `artifacts` and nothing else.
///
/// They are written to a new folder that then takes the place of the old one, so no link that a node left in the old one is followed.
pub(crate) fn write(
    node: &NodeName,
    config: &Path,
    artifacts: &[ArtifactFile],
) -> Result<(), ProviderError> {
    let paths = artifacts
        .iter()
        .map(|artifact| checked(node, &artifact.path))
        .collect::<Result<Vec<_>, _>>()?;
    replace_folder(config, |fresh| {
        fs::create_dir(fresh).at(fresh)?;
        for (artifact, path) in artifacts.iter().zip(paths) {
            write_one(&fresh.join(path), artifact)?;
        }
        Ok(())
    })
    .map_err(|error| error.of(Doing::Configuring, node))
}

/// The path, if it stays below the folder that it is relative to.
fn checked(node: &NodeName, path: &str) -> Result<PathBuf, ProviderError> {
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                clean.clear();
                break;
            }
        }
    }
    if clean.as_os_str().is_empty() {
        return Err(ProviderError::PathEscape {
            node: node.clone(),
            path: path.to_owned(),
        });
    }
    Ok(clean)
}

fn write_one(path: &Path, artifact: &ArtifactFile) -> Result<(), FileError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).at(parent)?;
    }
    // A path that is given twice is an error of the application, not a question of order.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .at(path)?;
    // Before the content, which may be a key; and after the creation, which the umask narrows.
    let mode = artifact.mode.unwrap_or(FileMode::PUBLIC);
    file.set_permissions(Permissions::from_mode(mode.bits()))
        .at(path)?;
    file.write_all(artifact.content.as_bytes()).at(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(artifacts: &[ArtifactFile]) -> Result<tempfile::TempDir, (tempfile::TempDir, String)> {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("config");
        fs::create_dir(&config).unwrap();
        fs::write(config.join("old"), "").unwrap();
        match write(&"N".parse().unwrap(), &config, artifacts) {
            Ok(()) => Ok(home),
            Err(error) => Err((home, error.to_string())),
        }
    }

    #[test]
    fn artifacts_replace_those_of_an_earlier_call_and_carry_their_mode() {
        let script = ArtifactFile::new("bin/run.sh", "true").with_mode(FileMode::PROGRAM);
        let home = check(&[ArtifactFile::new("./node.yaml", "a: 1"), script]).unwrap();
        let config = home.path().join("config");
        let mode = |path: &str| {
            let metadata = fs::metadata(config.join(path)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        assert_eq!((mode("node.yaml"), mode("bin/run.sh")), (0o644, 0o755));
        assert!(!config.join("old").exists());
    }

    #[test]
    fn a_path_out_of_the_folder_is_refused_and_nothing_is_written() {
        for bad in ["", ".", "/etc/passwd", "../x", "a/../../x", "a/.."] {
            let (home, error) =
                check(&[ArtifactFile::new("ok", ""), ArtifactFile::new(bad, "")]).expect_err(bad);
            assert!(
                error.contains("would leave its configuration folder"),
                "{error}"
            );
            let config = home.path().join("config");
            assert!(config.join("old").exists() && !config.join("ok").exists());
            assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_link_in_the_folder_is_not_followed() {
        let (home, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let config = home.path().join("config");
        fs::create_dir(&config).unwrap();
        std::os::unix::fs::symlink(outside.path(), config.join("sub")).unwrap();
        write(
            &"N".parse().unwrap(),
            &config,
            &[ArtifactFile::new("sub/x", "")],
        )
        .unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(config.join("sub/x").is_file());
    }

    #[test]
    fn a_path_that_is_given_twice_is_an_error_that_names_it() {
        let (home, error) =
            check(&[ArtifactFile::new("a", "1"), ArtifactFile::new("a", "2")]).unwrap_err();
        assert!(error.contains("/a failed"), "{error}");
        assert!(home.path().join("config/old").exists());
    }
}
