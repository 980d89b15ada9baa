//! Places: from the path of one artifact to the place of one file.

use std::{
    fs, io,
    os::unix::{ffi::OsStrExt as _, fs::FileTypeExt as _},
    path::{Component, Path, PathBuf},
};

use super::{OutputError, PathProblem, TEMPORARY_PREFIX};

/// The place of `path` below `root`, without any link on the way from there.
pub(super) fn below(root: Option<&Path>, path: &str) -> Result<PathBuf, OutputError> {
    let names = names_of(path).map_err(|problem| OutputError::Path {
        path: path.to_owned(),
        problem,
    })?;
    let root = root.ok_or_else(|| OutputError::Unrouted {
        path: path.to_owned(),
    })?;
    let mut target = root.to_path_buf();
    for (index, name) in names.iter().enumerate() {
        target.push(name);
        let last = index + 1 == names.len();
        let Some(kind) = kind_of(path, &target)? else {
            // Nothing is below what is not there.
            target.extend(&names[index + 1..]);
            break;
        };
        if kind.is_symlink() {
            return Err(link(path, target));
        }
        if last {
            refuse_occupied(path, &target, kind)?;
        } else if !kind.is_dir() {
            return Err(OutputError::NotAFolder {
                path: path.to_owned(),
                file: target,
            });
        }
    }
    Ok(target)
}

/// The place at which a route for `path` ends.
pub(super) fn named(path: &str, to: &Path) -> Result<PathBuf, OutputError> {
    file_name_problem(to).map_or(Ok(()), |problem| {
        Err(OutputError::Route {
            path: path.to_owned(),
            target: to.to_path_buf(),
            problem,
        })
    })?;
    match kind_of(path, to)? {
        None => {}
        Some(kind) if kind.is_symlink() => return Err(link(path, to.to_path_buf())),
        Some(kind) => refuse_occupied(path, to, kind)?,
    }
    Ok(to.to_path_buf())
}

/// The one name of the place at `target`, however it is reached: two targets have one place if and only if these are equal.
pub(super) fn of(path: &str, target: &Path) -> Result<PathBuf, OutputError> {
    let name = target.file_name().expect("a target names a file");
    let folder = folder_of(target);
    for above in folder.ancestors() {
        // The empty path above a relative one is the current folder.
        let existing = if above == Path::new("") {
            Path::new(".")
        } else {
            above
        };
        let rest = folder.strip_prefix(above).expect("it is above the folder");
        match fs::canonicalize(existing) {
            // What a ".." would mean after a folder that is not there yet, nobody can say.
            Ok(_) if rest.components().any(|part| part == Component::ParentDir) => {
                return Err(OutputError::Route {
                    path: path.to_owned(),
                    target: target.to_path_buf(),
                    problem: PathProblem::Parent,
                });
            }
            Ok(known) => return Ok(known.join(rest).join(name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(OutputError::Unreadable {
                    path: path.to_owned(),
                    at: existing.to_path_buf(),
                    source,
                });
            }
        }
    }
    Err(OutputError::Unreadable {
        path: path.to_owned(),
        at: folder.to_path_buf(),
        source: io::ErrorKind::NotFound.into(),
    })
}

/// The folder in which the file at `target` is.
pub(crate) fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// The names that lead from a folder to the file, and nowhere else.
fn names_of(path: &str) -> Result<Vec<&str>, PathProblem> {
    if path.is_empty() {
        return Err(PathProblem::Empty);
    }
    if path.contains('\0') {
        return Err(PathProblem::Nul);
    }
    if path.starts_with('/') {
        return Err(PathProblem::Absolute);
    }
    if path.split('/').any(|name| name == "..") {
        return Err(PathProblem::Parent);
    }
    if matches!(path.rsplit('/').next(), None | Some("" | ".")) {
        return Err(PathProblem::Folder);
    }
    let names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    let names: Vec<&str> = names.collect();
    if names.iter().any(|name| name.starts_with(TEMPORARY_PREFIX)) {
        return Err(PathProblem::Reserved);
    }
    Ok(names)
}

/// What is wrong with a path that somebody gave by name; it may lead anywhere, but to a file.
fn file_name_problem(to: &Path) -> Option<PathProblem> {
    let bytes = to.as_os_str().as_bytes();
    if bytes.is_empty() {
        return Some(PathProblem::Empty);
    }
    if bytes.contains(&0) {
        return Some(PathProblem::Nul);
    }
    match bytes.rsplit(|byte| *byte == b'/').next() {
        None | Some(b"" | b"." | b"..") => Some(PathProblem::Folder),
        Some(name) if name.starts_with(TEMPORARY_PREFIX.as_bytes()) => Some(PathProblem::Reserved),
        Some(_) => None,
    }
}

fn kind_of(path: &str, at: &Path) -> Result<Option<fs::FileType>, OutputError> {
    match fs::symlink_metadata(at) {
        Ok(found) => Ok(Some(found.file_type())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OutputError::Unreadable {
            path: path.to_owned(),
            at: at.to_path_buf(),
            source,
        }),
    }
}

fn refuse_occupied(path: &str, target: &Path, kind: fs::FileType) -> Result<(), OutputError> {
    let kind = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a folder",
        kind if kind.is_fifo() => "a named pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(OutputError::Occupied {
        path: path.to_owned(),
        target: target.to_path_buf(),
        kind,
    })
}

fn link(path: &str, link: PathBuf) -> OutputError {
    OutputError::Link {
        path: path.to_owned(),
        link,
    }
}
