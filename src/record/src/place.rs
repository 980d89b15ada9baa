//! Places: the folders of records below the state folder, and what is known of each without asking its views.
//!
//! A record that is being written is locked by whoever writes it, so that one whose writer was killed is known for what it is.

use std::{
    cmp::Reverse,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    net::SocketAddr,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use trellis_domain::{AppName, RunId};

use crate::RecordError;

const RECORDS: &str = "records";
const ABOUT: &str = "record.json";
const LOCK: &str = "lock";
/// How many records of one second and one cluster are told apart.
const TRIES_MAX: u32 = 100;

/// What is written down of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The run, which is also the tenant of its events.
    pub run: RunId,
    /// The cluster.
    pub cluster: String,
    /// The application of its nodes.
    pub app: AppName,
    /// What is observed, beside the nodes.
    pub observed: Vec<String>,
    /// Where the events are.
    pub nats_url: String,
    /// Whether that server is the record's own.
    pub own_server: bool,
    /// Where the views are asked for while it goes on.
    pub address: Option<SocketAddr>,
    /// Who writes it.
    pub pid: u32,
    /// When it was begun, in milliseconds since 1970.
    pub begun_ms: u64,
    /// When it was ended; not there where it goes on, or its writer was killed.
    pub ended_ms: Option<u64>,
    /// Why it was ended.
    pub how: Option<String>,
    /// Whether it was ended before all that was observed was stored.
    #[serde(default)]
    pub is_cut_off: bool,
}

/// What a record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It is being written.
    Live,
    /// It was ended.
    Ended,
    /// Who wrote it was killed.
    Killed,
}

/// A record that there is.
#[derive(Debug, Clone)]
pub struct Record {
    folder: PathBuf,
    /// What is written down of it.
    pub about: About,
    /// What it does.
    pub condition: Condition,
}

/// The folder of a record that is being written. Whoever holds it is its writer.
#[derive(Debug)]
pub(crate) struct Claim {
    folder: PathBuf,
    _lock: File,
}

impl Claim {
    /// Makes the folder of a new record of `cluster`, and names the run.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn take(
        state: &Path,
        cluster: &str,
        now: SystemTime,
    ) -> Result<(Self, RunId), RecordError> {
        let records = records(state);
        let failed = |source| RecordError::files("create", &records, source);
        private().recursive(true).create(&records).map_err(failed)?;
        for number in 1..TRIES_MAX {
            let run = run_id(cluster, now, number);
            let folder = records.join(run.as_str());
            match private().create(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(|source| RecordError::files("create", &folder, source))?,
            }
            let lock = lock(&folder, true);
            let lock = lock.map_err(|source| RecordError::files("lock", &folder, source))?;
            let claim = Self {
                folder,
                _lock: lock,
            };
            return Ok((claim, run));
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes down what is known of it, in one step, so that nobody reads half of it.
    pub(crate) fn write(&self, about: &About) -> Result<(), RecordError> {
        let file = self.folder.join(ABOUT);
        let unfinished = self.folder.join(format!("{ABOUT}.new"));
        let text = serde_json::to_vec_pretty(about).expect("it is values");
        fs::write(&unfinished, text)
            .and_then(|()| fs::rename(&unfinished, &file))
            .map_err(|source| RecordError::files("write", &file, source))
    }

    /// Removes what became no record.
    pub(crate) fn abandon(self) {
        // Whoever began it is told why it is none, and that matters more.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Record {
    /// All records below `state`, the newest first. Those that cannot be read are listed beside them.
    ///
    /// # Errors
    /// The folder cannot be read; where there is none, there are no records.
    pub fn all(state: &Path) -> Result<(Vec<Self>, Vec<RecordError>), RecordError> {
        let (mut all, mut damaged) = (Vec::new(), Vec::new());
        for name in names(state)? {
            match Self::open(state, &name) {
                Ok(record) => all.push(record),
                // It is just being begun.
                Err(_) if is_held(&records(state).join(&name)) => {}
                Err(error) => damaged.push(error),
            }
        }
        all.sort_by_key(|record| Reverse(record.about.begun_ms));
        Ok((all, damaged))
    }

    /// The record that `wanted` means: its name, the beginning of it that no other has, or the newest of the cluster of that name.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn find(state: &Path, wanted: &str) -> Result<Self, RecordError> {
        let names = names(state)?;
        if names.iter().any(|name| name == wanted) {
            return Self::open(state, wanted);
        }
        let (records, _) = Self::all(state)?;
        let of_cluster = |record: &Self| record.about.cluster == wanted;
        if let Some(newest) = records.iter().find(|record| of_cluster(record)) {
            return Ok(newest.clone());
        }
        let mut alike = names.iter().filter(|name| name.starts_with(wanted));
        match (alike.next(), alike.next()) {
            (Some(only), None) => Self::open(state, only),
            _ => Err(RecordError::Unknown {
                wanted: wanted.to_owned(),
                known: nearest(names, wanted),
            }),
        }
    }

    fn open(state: &Path, name: &str) -> Result<Self, RecordError> {
        let folder = records(state).join(name);
        let file = folder.join(ABOUT);
        let about = fs::read(&file)
            .map_err(|error| (format!("{} cannot be read", file.display()), error.into()))
            .and_then(|text| {
                serde_json::from_slice::<About>(&text).map_err(|error| {
                    (
                        format!("{} is not as written", file.display()),
                        error.into(),
                    )
                })
            });
        let about = about.map_err(|(what, source)| RecordError::Damaged {
            run: name.to_owned(),
            what,
            source: Some(source),
        })?;
        let condition = match (is_held(&folder), about.ended_ms) {
            (true, _) => Condition::Live,
            (false, Some(_)) => Condition::Ended,
            (false, None) => Condition::Killed,
        };
        Ok(Self {
            folder,
            about,
            condition,
        })
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes the record called `name`, which may be damaged.
    ///
    /// # Errors
    /// There is none, it is being written, or it cannot be removed.
    pub fn remove(state: &Path, name: &str) -> Result<(), RecordError> {
        let names = names(state)?;
        if !names.iter().any(|known| known == name) {
            return Err(RecordError::Unknown {
                wanted: name.to_owned(),
                known: nearest(names, name),
            });
        }
        let folder = records(state).join(name);
        if is_held(&folder) {
            return Err(RecordError::Live {
                run: name.to_owned(),
            });
        }
        fs::remove_dir_all(&folder).map_err(|source| RecordError::files("remove", &folder, source))
    }
}

fn records(state: &Path) -> PathBuf {
    state.join(RECORDS)
}

/// Of a folder that nobody else may enter.
fn private() -> DirBuilder {
    const OURS_ALONE: u32 = 0o700;
    let mut builder = DirBuilder::new();
    builder.mode(OURS_ALONE);
    builder
}

/// The folders of records, in the order of their names.
fn names(state: &Path) -> Result<Vec<String>, RecordError> {
    let folder = records(state);
    let failed = |source| RecordError::files("list", &folder, source);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        names.extend(name.into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// The names that are most like `wanted`, a few of them.
fn nearest(mut names: Vec<String>, wanted: &str) -> Vec<String> {
    const SHOWN: usize = 5;
    let alike = |name: &String| {
        let same = name.chars().zip(wanted.chars());
        let same = same.take_while(|(one, other)| one == other).count();
        // Among those that are equally near, the last is the newest.
        Reverse(same)
    };
    names.reverse();
    names.sort_by_key(alike);
    names.truncate(SHOWN);
    names
}

fn lock(folder: &Path, exclusive: bool) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(exclusive)
        .truncate(false)
        .open(folder.join(LOCK))?;
    let locked = if exclusive {
        file.try_lock()
    } else {
        file.try_lock_shared()
    };
    match locked {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn is_held(folder: &Path) -> bool {
    lock(folder, false).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Such as `demo-20261121-161500`: records of a cluster are in the order of their names.
fn run_id(cluster: &str, now: SystemTime, number: u32) -> RunId {
    let time = humantime::format_rfc3339_seconds(now).to_string();
    let digits: String = time.chars().filter(char::is_ascii_digit).collect();
    let (day, time) = digits.split_at(8);
    let number = match number {
        1 => String::new(),
        number => format!("-{number}"),
    };
    let id = format!("{cluster}-{day}-{time}{number}");
    id.parse()
        .expect("the name of a cluster and some digits make a run id")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::millis;

    fn about(run: &RunId, cluster: &str, begun: SystemTime) -> About {
        About {
            run: run.clone(),
            cluster: cluster.to_owned(),
            app: "kv".parse().unwrap(),
            observed: vec!["raft".to_owned()],
            nats_url: "nats://127.0.0.1:1".to_owned(),
            own_server: true,
            address: None,
            pid: 7,
            begun_ms: millis(begun),
            ended_ms: None,
            how: None,
            is_cut_off: false,
        }
    }

    fn made(state: &Path, cluster: &str, second: u64) -> (Claim, RunId) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        let (claim, run) = Claim::take(state, cluster, now).unwrap();
        claim.write(&about(&run, cluster, now)).unwrap();
        (claim, run)
    }

    #[test]
    fn records_are_named_after_cluster_and_time_and_found_by_either() {
        let state = tempfile::tempdir().unwrap();
        let (first, run) = made(state.path(), "demo", 1_000_000_000);
        let (_second, again) = made(state.path(), "demo", 1_000_000_000);
        let (_other, other) = made(state.path(), "other", 1_000_000_500);
        assert_eq!(run.as_str(), "demo-20010909-014640");
        assert_eq!(again.as_str(), "demo-20010909-014640-2");
        let (all, damaged) = Record::all(state.path()).unwrap();
        assert_eq!((all.len(), damaged.len()), (3, 0));
        assert_eq!(all[0].about.run, other);
        let found = |wanted: &str| Record::find(state.path(), wanted).unwrap().about.run;
        assert_eq!(found(run.as_str()), run);
        assert_eq!(found("other"), other);
        assert_eq!(found("oth"), other);
        let unknown = Record::find(state.path(), "dema-2001").unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "there is no record \"dema-2001\"; there are: demo-20010909-014640-2, demo-20010909-014640, other-20010909-015500"
        );
        drop(first);
    }

    #[test]
    fn whether_a_record_goes_on_is_known_by_its_lock_whatever_it_says() {
        let state = tempfile::tempdir().unwrap();
        let (claim, run) = made(state.path(), "demo", 1);
        let condition = || Record::find(state.path(), "demo").unwrap().condition;
        assert_eq!(condition(), Condition::Live);
        let live = Record::remove(state.path(), run.as_str()).unwrap_err();
        assert!(live.to_string().contains("is being written"), "{live}");
        let mut ended = about(&run, "demo", SystemTime::UNIX_EPOCH);
        ended.ended_ms = Some(9);
        claim.write(&ended).unwrap();
        assert_eq!(condition(), Condition::Live);
        drop(claim);
        assert_eq!(condition(), Condition::Ended);
        let file = state.path().join("records").join(run.as_str()).join(ABOUT);
        fs::write(&file, "{").unwrap();
        let damaged = Record::find(state.path(), run.as_str()).unwrap_err();
        assert!(damaged.to_string().contains("is damaged"), "{damaged}");
        assert_eq!(Record::all(state.path()).unwrap().1.len(), 1);
        Record::remove(state.path(), run.as_str()).unwrap();
        assert_eq!(Record::all(state.path()).unwrap().0.len(), 0);
    }

    #[test]
    fn a_record_whose_writer_is_gone_without_a_word_was_killed() {
        let state = tempfile::tempdir().unwrap();
        let (claim, _) = made(state.path(), "demo", 1);
        drop(claim);
        let record = Record::find(state.path(), "demo").unwrap();
        assert_eq!(record.condition, Condition::Killed);
    }
}
