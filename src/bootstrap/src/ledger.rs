//! The run ledger: what we own is written down before it is created, so that a run that was killed can be cleaned up by somebody else.
//!
//! One file a run in the state folder, one JSON line an entry, locked by the harness for as long as it lives: a ledger whose lock is free belongs to a run that ended without cleaning up.
//! Lines are not synced to disk; they must survive the harness, not the machine, and what they name does not survive the machine either.
//! How a kind of resource is found and ended is its backend's (see `trellis-local` for processes and folders). Borrowed resources are never written here.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use trellis_domain::RunId;

/// What went wrong with a ledger.
#[derive(Debug, Error)]
#[error("cannot {doing} the run ledger {}", path.display())]
pub struct LedgerError {
    /// What was being done.
    pub doing: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The system's reason.
    #[source]
    pub source: io::Error,
}

/// Something that we own and must remove.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resource {
    /// The backend that can remove it, such as `local`.
    pub backend: String,
    /// What it is, in the backend's own terms, such as `processes` or `folder`.
    pub kind: String,
    /// Which one, such as a path or a label.
    pub id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Owned(Resource),
    Removed(Resource),
}

/// The open ledger of a live run.
#[derive(Debug)]
pub struct RunLedger {
    run: RunId,
    path: PathBuf,
    file: Mutex<File>,
}

impl RunLedger {
    /// Opens a new ledger for `run` below `state`, and locks it until it is dropped or the process ends, however it ends.
    ///
    /// # Errors
    /// A folder that cannot be written, or a run id that was used before.
    pub fn open(state: &Path, run: RunId) -> Result<Self, LedgerError> {
        let folder = runs(state);
        std::fs::create_dir_all(&folder).map_err(|source| LedgerError {
            doing: "create the folder of",
            path: folder.clone(),
            source,
        })?;
        let path = folder.join(format!("{run}.jsonl"));
        let fail = |doing| {
            let path = path.clone();
            move |source| LedgerError {
                doing,
                path,
                source,
            }
        };
        // It is locked before it has its name: a cleaner that finds it must never find it free.
        let unnamed = folder.join(format!(".{run}.new"));
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&unnamed)
            .map_err(fail("create"))?;
        file.lock().map_err(fail("lock"))?;
        let named = std::fs::hard_link(&unnamed, &path);
        std::fs::remove_file(&unnamed).map_err(fail("name"))?;
        named.map_err(fail("name"))?;
        Ok(Self {
            run,
            path,
            file: Mutex::new(file),
        })
    }

    /// The run that it belongs to; the label of everything that the run owns.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Writes down a resource that is about to be created.
    ///
    /// # Errors
    /// A full or lost disk; the resource must not be created then.
    pub fn own(&self, resource: &Resource) -> Result<(), LedgerError> {
        self.append(&Entry::Owned(resource.clone()))
    }

    /// Strikes out a resource that was removed.
    ///
    /// # Errors
    /// A full or lost disk.
    pub fn removed(&self, resource: &Resource) -> Result<(), LedgerError> {
        self.append(&Entry::Removed(resource.clone()))
    }

    fn append(&self, entry: &Entry) -> Result<(), LedgerError> {
        let mut line = serde_json::to_vec(entry).expect("a resource is three strings");
        line.push(b'\n');
        let mut file = self
            .file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(&line).map_err(|source| LedgerError {
            doing: "write",
            path: self.path.clone(),
            source,
        })
    }

    /// Removes the ledger when nothing is left in it.
    ///
    /// # Errors
    /// A ledger that cannot be read or removed.
    pub fn close(&self) -> Result<Vec<Resource>, LedgerError> {
        let left = read(&self.path)?;
        if left.is_empty() {
            remove(&self.path)?;
        }
        Ok(left)
    }
}

/// The ledger of a run that is not live any more.
#[derive(Debug)]
pub struct AbandonedRun {
    run: RunId,
    path: PathBuf,
    left: Vec<Resource>,
    /// Held, so that two cleaners do not meet.
    lock: File,
}

impl AbandonedRun {
    /// Which run it was.
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// What it owned and did not remove, in the order of creation.
    pub fn left(&self) -> &[Resource] {
        &self.left
    }

    /// Forgets the run, after everything it left was removed.
    ///
    /// # Errors
    /// A ledger that cannot be removed.
    pub fn forget(self) -> Result<(), LedgerError> {
        remove(&self.path)?;
        drop(self.lock);
        Ok(())
    }
}

/// The runs that the state folder knows of.
#[derive(Debug, Default)]
pub struct KnownRuns {
    /// Runs whose harness lives; they clean up for themselves.
    pub live: Vec<RunId>,
    /// Runs whose harness is gone.
    pub abandoned: Vec<AbandonedRun>,
}

/// Reads all ledgers below `state`. A missing folder is a state without runs.
///
/// # Errors
/// A folder or ledger that cannot be read.
pub fn known_runs(state: &Path) -> Result<KnownRuns, LedgerError> {
    let folder = runs(state);
    let fail = |source| LedgerError {
        doing: "list",
        path: folder.clone(),
        source,
    };
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KnownRuns::default()),
        other => other.map_err(fail)?,
    };
    let mut known = KnownRuns::default();
    for entry in entries {
        let path = entry.map_err(fail)?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let Some(run) = name.strip_suffix(".jsonl").and_then(|run| run.parse().ok()) else {
            continue;
        };
        match try_lock(&path) {
            Ok(Some(lock)) => {
                let left = read(&path)?;
                known.abandoned.push(AbandonedRun {
                    run,
                    path,
                    left,
                    lock,
                });
            }
            Ok(None) => known.live.push(run),
            // The run closed its ledger between our two looks.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(LedgerError {
                    doing: "open",
                    path,
                    source,
                });
            }
        }
    }
    known.live.sort();
    known.abandoned.sort_by(|a, b| a.run.cmp(&b.run));
    Ok(known)
}

fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::open(path)?;
    match file.try_lock() {
        Ok(()) if file.metadata()?.nlink() == 0 => Err(io::ErrorKind::NotFound.into()),
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn runs(state: &Path) -> PathBuf {
    state.join("runs")
}

fn remove(path: &Path) -> Result<(), LedgerError> {
    std::fs::remove_file(path).map_err(|source| LedgerError {
        doing: "remove",
        path: path.to_owned(),
        source,
    })
}

/// What a ledger says is owned and not removed. A last line that was cut short names nothing that was created yet.
fn read(path: &Path) -> Result<Vec<Resource>, LedgerError> {
    let fail = |source| LedgerError {
        doing: "read",
        path: path.to_owned(),
        source,
    };
    let mut left: Vec<Resource> = Vec::new();
    for line in BufReader::new(File::open(path).map_err(fail)?).lines() {
        match serde_json::from_str(&line.map_err(fail)?) {
            Ok(Entry::Owned(resource)) => {
                if !left.contains(&resource) {
                    left.push(resource);
                }
            }
            Ok(Entry::Removed(resource)) => left.retain(|other| *other != resource),
            Err(error) if error.is_eof() => {}
            Err(error) => return Err(fail(error.into())),
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn folder(id: &str) -> Resource {
        Resource {
            backend: "local".into(),
            kind: "folder".into(),
            id: id.into(),
        }
    }

    fn ledger(state: &Path) -> RunLedger {
        RunLedger::open(state, "run-1".parse().unwrap()).unwrap()
    }

    #[test]
    fn a_live_run_is_not_abandoned_and_a_dropped_one_is() {
        let state = tempfile::tempdir().unwrap();
        let ledger = ledger(state.path());
        ledger.own(&folder("a")).unwrap();
        ledger.own(&folder("b")).unwrap();
        ledger.removed(&folder("a")).unwrap();
        let known = known_runs(state.path()).unwrap();
        assert_eq!((known.live.len(), known.abandoned.len()), (1, 0));
        drop(ledger);
        let mut known = known_runs(state.path()).unwrap();
        let abandoned = known.abandoned.pop().unwrap();
        assert_eq!(abandoned.left(), [folder("b")]);
        abandoned.forget().unwrap();
        assert!(known_runs(state.path()).unwrap().abandoned.is_empty());
    }

    #[test]
    fn a_run_id_is_used_once_and_a_refusal_leaves_the_first_alone() {
        let state = tempfile::tempdir().unwrap();
        let first = ledger(state.path());
        first.own(&folder("a")).unwrap();
        let again = RunLedger::open(state.path(), "run-1".parse().unwrap()).unwrap_err();
        assert!(
            again.to_string().starts_with("cannot name the run ledger"),
            "{again}"
        );
        assert_eq!(std::fs::read_dir(runs(state.path())).unwrap().count(), 1);
        assert_eq!(read(&first.path).unwrap(), [folder("a")]);
    }

    #[test]
    fn a_run_is_never_seen_as_abandoned_while_it_begins_or_ends() {
        let state = tempfile::tempdir().unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looker = scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let known = known_runs(state.path()).unwrap();
                    assert!(known.abandoned.is_empty(), "{:?}", known.abandoned);
                }
            });
            for n in 0..5_000 {
                let run = format!("run-{n}").parse().unwrap();
                let ledger = RunLedger::open(state.path(), run).unwrap();
                assert!(ledger.close().unwrap().is_empty());
            }
            done.store(true, Ordering::SeqCst);
            looker.join().unwrap();
        });
    }

    #[test]
    fn a_clean_run_leaves_no_ledger() {
        let state = tempfile::tempdir().unwrap();
        let ledger = ledger(state.path());
        ledger.own(&folder("a")).unwrap();
        ledger.removed(&folder("a")).unwrap();
        assert!(ledger.close().unwrap().is_empty());
        assert_eq!(std::fs::read_dir(runs(state.path())).unwrap().count(), 0);
    }

    #[test]
    fn what_is_left_keeps_the_ledger() {
        let state = tempfile::tempdir().unwrap();
        let ledger = ledger(state.path());
        ledger.own(&folder("a")).unwrap();
        assert_eq!(ledger.close().unwrap(), [folder("a")]);
        drop(ledger);
        assert_eq!(known_runs(state.path()).unwrap().abandoned.len(), 1);
    }

    #[test]
    fn a_line_cut_short_by_a_crash_is_not_an_error() {
        let state = tempfile::tempdir().unwrap();
        let ledger = ledger(state.path());
        ledger.own(&folder("a")).unwrap();
        ledger
            .file
            .lock()
            .unwrap()
            .write_all(br#"{"owned":{"backend":"lo"#)
            .unwrap();
        let path = ledger.path.clone();
        drop(ledger);
        assert_eq!(read(&path).unwrap(), [folder("a")]);
    }

    #[test]
    fn a_state_folder_that_is_not_there_has_no_runs() {
        let known = known_runs(Path::new("/nonexistent/trellis")).unwrap();
        assert!(known.live.is_empty() && known.abandoned.is_empty());
    }
}
