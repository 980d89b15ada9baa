//! Places: the folder of a cluster in the state folder, and who supervises it.
//!
//! `<state>/clusters/<name>` holds a lock file that says who the supervisor is, and its control socket; only the user may enter.
//! The lock is the truth: the kernel lets go of it when the supervisor ends, however it ends. A file or a socket that is merely there proves nothing.
//! To look whether a lock is free is to hold it for a moment; so whoever looks, claims or releases passes a gate, one at a time, and nobody takes a look for a supervisor. Within the gate nobody waits for anything, since all others wait for the gate.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{DirBuilderExt as _, PermissionsExt as _},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use trellis_domain::RunId;

use crate::ClusterName;

const LOCK: &str = "lock";
const SOCKET: &str = "control.sock";
/// Where logs and configurations of a cluster that did not come up are left.
const KEPT: &str = "kept";
const GATE: &str = ".gate";

/// What went wrong with the folder of a cluster.
#[derive(Debug, Error)]
#[error("cannot {doing} {}{}", path.display(), hint(source))]
pub struct PlaceError {
    /// What was being done.
    pub doing: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's reason.
    #[source]
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ", which belongs to somebody else; choose a state folder of your own with --state"
        }
        _ => "",
    }
}

/// Who supervises a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorId {
    /// The run under which it writes down what it owns.
    pub run: RunId,
    /// Its process.
    pub pid: u32,
}

/// Whether a cluster is supervised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Supervision {
    /// There is none of that name.
    Absent,
    /// Its supervisor lives; who it is is not known in the moment in which it begins.
    Live(Option<SupervisorId>),
    /// Its supervisor ended without putting things in order.
    Dead(Option<SupervisorId>),
}

/// The folder of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    clusters: PathBuf,
    folder: PathBuf,
}

impl Place {
    pub(crate) fn of(state: &Path, name: &ClusterName) -> Self {
        let clusters = clusters(state);
        Self {
            folder: clusters.join(name.as_str()),
            clusters,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where logs of a cluster that did not come up are left.
    pub(crate) fn kept(&self) -> PathBuf {
        self.folder.join(KEPT)
    }

    /// Who supervises the cluster now.
    pub(crate) fn supervision(&self) -> Result<Supervision, PlaceError> {
        if !self.folder.join(LOCK).exists() {
            return Ok(Supervision::Absent);
        }
        let _gate = pass_gate(&self.clusters)?;
        self.look()
    }

    /// As [`Place::supervision`], within the gate.
    fn look(&self) -> Result<Supervision, PlaceError> {
        let path = self.folder.join(LOCK);
        let lock = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Supervision::Absent);
            }
            other => other.map_err(|source| fail("read", &path, source))?,
        };
        match lock.try_lock() {
            Ok(()) => Ok(Supervision::Dead(read(&lock))),
            Err(TryLockError::WouldBlock) => Ok(Supervision::Live(read(&lock))),
            Err(TryLockError::Error(source)) => Err(fail("lock", &path, source)),
        }
    }

    /// Removes all that is left of a supervisor, within the gate. A folder with content is somebody's to look at or to clean, and stays.
    fn tidy(&self) -> Result<(), PlaceError> {
        let tidy = || {
            remove_if_there(&self.folder.join(SOCKET))?;
            for entry in fs::read_dir(&self.folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    let _ = fs::remove_dir(entry.path());
                }
            }
            remove_if_there(&self.folder.join(LOCK))?;
            let _ = fs::remove_dir(&self.folder);
            Ok(())
        };
        tidy().map_err(|source| fail("put in order", &self.folder, source))
    }

    /// Removes what a dead supervisor left here beside what is in its ledger. Nothing happens while one lives.
    pub(crate) fn forget_dead(&self) -> Result<bool, PlaceError> {
        let _gate = pass_gate(&self.clusters)?;
        if matches!(self.look()?, Supervision::Dead(_)) {
            self.tidy()?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Connects to the supervisor.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        let folder = File::open(&self.folder)?;
        UnixStream::connect(within(&folder, SOCKET))
    }
}

/// The right to supervise a cluster: whoever holds it is the only one. It ends with the process at the latest.
#[derive(Debug)]
pub(crate) struct Claim {
    place: Place,
    folder: File,
    _lock: File,
}

/// Why a cluster cannot be supervised.
#[derive(Debug)]
pub(crate) enum ClaimError {
    /// Somebody does already.
    Taken(Option<SupervisorId>),
    Place(PlaceError),
}

impl From<PlaceError> for ClaimError {
    fn from(error: PlaceError) -> Self {
        Self::Place(error)
    }
}

impl Claim {
    /// Claims the cluster for `supervisor`.
    pub(crate) fn take(place: Place, supervisor: &SupervisorId) -> Result<Self, ClaimError> {
        let folder = &place.folder;
        let failed = |doing, source| ClaimError::Place(fail(doing, folder, source));
        let _gate = pass_gate(&place.clusters)?;
        private_folder(folder).map_err(|source| failed("create", source))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(LOCK))
            .map_err(|source| failed("write to", source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ClaimError::Taken(read(&lock))),
            Err(TryLockError::Error(source)) => return Err(failed("lock", source)),
        }
        write(&mut lock, supervisor).map_err(|source| failed("write to", source))?;
        let folder = File::open(folder).map_err(|source| failed("open", source))?;
        Ok(Self {
            place,
            folder,
            _lock: lock,
        })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Listens on the control socket; one that a dead supervisor left is replaced.
    pub(crate) fn listen(&self) -> Result<UnixListener, PlaceError> {
        let path = self.place.folder.join(SOCKET);
        let listen = || {
            remove_if_there(&path)?;
            let listener = UnixListener::bind(within(&self.folder, SOCKET))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        listen().map_err(|source| fail("listen on", &path, source))
    }

    /// Gives the cluster's name free.
    pub(crate) fn release(self) -> Result<(), PlaceError> {
        let _gate = pass_gate(&self.place.clusters)?;
        self.place.tidy()
    }
}

/// The clusters that there are, supervised or not, in the order of their names.
///
/// # Errors
/// A state folder that cannot be read; a missing one has no clusters.
pub fn known_clusters(state: &Path) -> Result<Vec<(ClusterName, Supervision)>, PlaceError> {
    let folder = clusters(state);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|source| fail("list", &folder, source))?,
    };
    let mut known = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| fail("list", &folder, source))?;
        let Some(name) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let supervision = Place::of(state, &name).supervision()?;
        if supervision != Supervision::Absent {
            known.push((name, supervision));
        }
    }
    known.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(known)
}

/// Removes the socket and the lock that the dead supervisor of `name` left, and says whether there was one; what it owned is in its ledger.
///
/// # Errors
/// What cannot be read or removed.
pub fn forget_dead(state: &Path, name: &ClusterName) -> Result<bool, PlaceError> {
    Place::of(state, name).forget_dead()
}

fn clusters(state: &Path) -> PathBuf {
    state.join("clusters")
}

/// Waits until nobody else looks at, claims or releases a cluster; ends when it is dropped.
fn pass_gate(clusters: &Path) -> Result<File, PlaceError> {
    let path = clusters.join(GATE);
    let pass = || {
        private_folder(clusters)?;
        let gate = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        gate.lock()?;
        Ok(gate)
    };
    pass().map_err(|source| fail("use", &path, source))
}

/// A path that is short enough for a socket, however deep the folder is.
fn within(folder: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

/// Creates a folder that nobody else may enter.
fn private_folder(folder: &Path) -> io::Result<()> {
    const OURS_ALONE: u32 = 0o700;
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(OURS_ALONE).create(folder)?;
    // It may have been there before, with another mode.
    fs::set_permissions(folder, Permissions::from_mode(OURS_ALONE))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What the lock file says; nothing while its writer has just begun.
fn read(mut file: &File) -> Option<SupervisorId> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write(file: &mut File, supervisor: &SupervisorId) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&serde_json::to_vec(supervisor)?)
}

fn fail(doing: &'static str, path: &Path, source: io::Error) -> PlaceError {
    PlaceError {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> ClusterName {
        "demo".parse().unwrap()
    }

    fn supervisor() -> SupervisorId {
        SupervisorId {
            run: "up-demo-1".parse().unwrap(),
            pid: 7,
        }
    }

    #[test]
    fn a_name_is_claimed_once_and_free_again_after_release() {
        let state = tempfile::tempdir().unwrap();
        let place = Place::of(state.path(), &name());
        assert_eq!(place.supervision().unwrap(), Supervision::Absent);
        let claim = Claim::take(place.clone(), &supervisor()).unwrap();
        let again = Claim::take(place.clone(), &supervisor()).unwrap_err();
        assert!(matches!(again, ClaimError::Taken(Some(id)) if id == supervisor()));
        let live = Supervision::Live(Some(supervisor()));
        assert_eq!(known_clusters(state.path()).unwrap(), [(name(), live)]);
        assert!(!forget_dead(state.path(), &name()).unwrap());
        claim.release().unwrap();
        assert_eq!(place.supervision().unwrap(), Supervision::Absent);
        assert!(!place.folder().exists());
    }

    #[test]
    fn a_dead_supervisor_is_seen_and_its_socket_is_replaced() {
        let state = tempfile::tempdir().unwrap();
        let place = Place::of(state.path(), &name());
        let claim = Claim::take(place.clone(), &supervisor()).unwrap();
        let _listener = claim.listen().unwrap();
        drop(claim);
        let dead = Supervision::Dead(Some(supervisor()));
        assert_eq!(place.supervision().unwrap(), dead);
        let claim = Claim::take(place.clone(), &supervisor()).unwrap();
        let listener = claim.listen().unwrap();
        place.connect().unwrap();
        listener.set_nonblocking(false).unwrap();
        listener.accept().unwrap();
        drop(claim);
        assert!(forget_dead(state.path(), &name()).unwrap());
        assert_eq!(known_clusters(state.path()).unwrap(), []);
    }

    #[test]
    fn a_deep_state_folder_has_room_for_a_socket_and_nobody_else_may_enter() {
        let state = tempfile::tempdir().unwrap();
        let deep = state.path().join("d".repeat(120));
        let place = Place::of(&deep, &name());
        let claim = Claim::take(place.clone(), &supervisor()).unwrap();
        let _listener = claim.listen().unwrap();
        place.connect().unwrap();
        let mode = fs::metadata(place.folder()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn what_has_content_is_not_removed() {
        let state = tempfile::tempdir().unwrap();
        let place = Place::of(state.path(), &name());
        let claim = Claim::take(place.clone(), &supervisor()).unwrap();
        let kept = place.kept().join("NODE_1");
        fs::create_dir_all(&kept).unwrap();
        fs::create_dir_all(place.folder().join("up-demo-0")).unwrap();
        claim.release().unwrap();
        assert!(kept.exists() && !place.folder().join("up-demo-0").exists());
        assert_eq!(known_clusters(state.path()).unwrap(), []);
    }
}
