//! Programs: what applications need of the machine that a run is on, and whether it is there.
//!
//! What becomes of scenarios whose application lacks one is the harness's.

use std::{
    env,
    ffi::OsStr,
    fmt,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A program that somebody else provides. Shown as what it is called and how it is installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    name: PathBuf,
    install: String,
}

/// Something that a machine has to let us do, what it is called where it does not, and how that is found out.
///
/// It is found out only for scenarios that need it.
#[derive(Debug, Clone)]
pub struct Privilege {
    /// What is missing without it, and the command that gives it.
    pub lacking: Program,
    /// Whether it is there.
    pub is_given: fn() -> bool,
}

impl Program {
    /// The program `name`, a path or a name to be found on the search path, and the command that installs it.
    pub fn named(name: impl Into<PathBuf>, install: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            install: install.into(),
        }
    }

    /// Whether it can be run by somebody who looks for programs in the folders of `search_path`.
    pub fn is_on(&self, search_path: Option<&OsStr>) -> bool {
        if self.name.components().count() > 1 {
            return is_program(&self.name);
        }
        let folders = search_path.into_iter().flat_map(env::split_paths);
        folders
            .map(|folder| folder.join(&self.name))
            .any(|path| is_program(&path))
    }

    /// What is said of it where it is missing.
    pub(crate) fn is_missing(&self) -> String {
        format!("{} is not on this machine", self.name.display())
    }

    /// The command that installs it.
    pub(crate) fn install(&self) -> &str {
        &self.install
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name.display(), self.install)
    }
}

fn is_program(path: &Path) -> bool {
    let metadata = path.metadata();
    metadata.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_program_is_a_file_on_the_search_path_that_may_be_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tool");
        let search_path = env::join_paths([Path::new("/nonexistent"), folder.path()]).unwrap();
        let is_on = |name: &Path| Program::named(name, "").is_on(Some(&search_path));

        assert!(!is_on(Path::new("tool")));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(!is_on(Path::new("tool")) && !is_on(&path));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(is_on(Path::new("tool")) && is_on(&path));
        assert!(!Program::named("tool", "").is_on(None));
        assert!(!is_on(folder.path()), "a folder is no program");
    }
}
