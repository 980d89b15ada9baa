//! The run folder: one a run, with a folder for each attempt of a scenario below it.
//!
//! Older runs are removed when a new one begins: never one that is still live, and never a folder that does not carry our marker.

use std::{
    fmt::{self, Write as _},
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use thiserror::Error;

/// The file by which we know a folder as ours. A live run holds a lock on it.
const MARKER: &str = ".trellis-run";
/// The link to the newest run.
const LATEST: &str = "latest";
/// How many runs are kept, the new one included.
const RUNS_MAX: usize = 10;
/// What scenarios went on without, one node a line.
const MISSING: &str = "missing.txt";
/// The most characters of a feature's or scenario's name in a path.
const SLUG_CHARS_MAX: usize = 60;

/// What went wrong with a run folder.
#[derive(Debug, Error)]
#[error("cannot {doing} the run folder {}", path.display())]
pub struct RunFolderError {
    /// What was being done.
    pub doing: &'static str,
    /// The folder or file.
    pub path: PathBuf,
    /// The system's reason.
    #[source]
    pub source: io::Error,
}

/// The folder of a live run. It stays when this is dropped; only the lock on it ends.
#[derive(Debug)]
pub struct RunFolder {
    id: String,
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Makes a new folder below `root`, points `latest` at it, and removes the oldest runs beyond ten.
    ///
    /// # Errors
    /// A root that cannot be written. Old runs that cannot be removed are left as they are.
    pub fn create(root: &Path) -> Result<Self, RunFolderError> {
        let fail = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| RunFolderError {
                doing,
                path,
                source,
            }
        };
        fs::create_dir_all(root).map_err(fail("create", root))?;
        let root = root.canonicalize().map_err(fail("find", root))?;
        let id = format!(
            "run-{}-{}",
            timestamp(SystemTime::now()),
            std::process::id()
        );
        let path = root.join(&id);
        fs::create_dir(&path).map_err(fail("create", &path))?;
        let marker = path.join(MARKER);
        let mut options = OpenOptions::new();
        let lock = options
            .write(true)
            .create_new(true)
            .open(&marker)
            .map_err(fail("mark", &marker))?;
        lock.lock().map_err(fail("lock", &marker))?;
        link_latest(&root, &id).map_err(fail("link to", &path))?;
        remove_oldest(&root);
        Ok(Self {
            id,
            path,
            _lock: lock,
        })
    }

    /// What the run is called; unlike any other run of this machine.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down that the scenario called `title` goes on without `nodes`, each with the reason; whether it passes or not.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn note_missing<N: fmt::Display>(
        &self,
        title: &str,
        nodes: &[N],
    ) -> Result<(), RunFolderError> {
        let path = self.path.join(MISSING);
        let line = |node: &N| format!("{title}: {node}\n");
        let lines = nodes.iter().map(line).collect::<Vec<_>>().concat();
        // In one write, so that lines of scenarios that run at the same time are not mixed.
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(lines.as_bytes()));
        written.map_err(|source| RunFolderError {
            doing: "note what is missing in",
            path,
            source,
        })
    }

    /// Where one attempt of a scenario leaves what it leaves. `attempt` counts from 1. Nothing is created.
    pub fn attempt(&self, feature: &Path, line: usize, name: &str, attempt: usize) -> PathBuf {
        let feature = feature.with_extension("");
        let mut scenario = format!("{line}-{}", slug(name));
        if attempt > 1 {
            write!(scenario, "-try-{attempt}").expect("a String takes any text");
        }
        self.path
            .join("scenarios")
            .join(tail(&slug_all(&feature.to_string_lossy())))
            .join(scenario)
    }
}

/// Points `latest` at the run in one step, so that no reader finds it missing.
fn link_latest(root: &Path, id: &str) -> io::Result<()> {
    let fresh = root.join(format!(".{LATEST}-{}", std::process::id()));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::os::unix::fs::symlink(id, &fresh)?;
    fs::rename(&fresh, root.join(LATEST))
}

fn remove_oldest(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    // The names begin with the time, so their order is that of the runs.
    let mut runs: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| !path.is_symlink() && path.join(MARKER).is_file())
        .collect();
    runs.sort();
    let surplus = runs.len().saturating_sub(RUNS_MAX);
    for run in &runs[..surplus] {
        let marker = run.join(MARKER);
        let Ok(lock) = File::open(&marker) else {
            continue;
        };
        // A live run cleans up for itself; what cannot be removed now is tried again by the next run.
        if lock.try_lock().is_ok() && remove_but_marker(run).is_ok() {
            let _ = fs::remove_dir_all(run);
        }
    }
}

/// The marker goes last: a folder that was half removed must still be known as ours.
fn remove_but_marker(run: &Path) -> io::Result<()> {
    for entry in fs::read_dir(run)? {
        let entry = entry?;
        if entry.file_name() == MARKER {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// `20260131-235959`, UTC.
fn timestamp(now: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(now).to_string();
    text.trim_end_matches('Z')
        .replace('T', "-")
        .replace(':', "")
        .replacen('-', "", 2)
}

/// `text` as a part of a path, cut off at its end.
fn slug(text: &str) -> String {
    let slug: String = slug_all(text).chars().take(SLUG_CHARS_MAX).collect();
    slug.trim_end_matches('-').to_owned()
}

/// The end of a slug: that is where paths differ.
fn tail(slug: &str) -> &str {
    let surplus = slug.chars().count().saturating_sub(SLUG_CHARS_MAX);
    let begin = slug
        .char_indices()
        .nth(surplus)
        .map_or(0, |(begin, _)| begin);
    slug[begin..].trim_start_matches('-')
}

/// `text` in lower case, with dashes for everything but letters and digits.
fn slug_all(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    if slug.is_empty() {
        "unnamed".to_owned()
    } else {
        slug
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old_run(root: &Path, number: usize) -> PathBuf {
        let path = root.join(format!("run-20200101-0000{number:02}-1"));
        fs::create_dir_all(path.join("scenarios")).unwrap();
        fs::write(path.join(MARKER), "").unwrap();
        path
    }

    #[test]
    fn the_newest_ten_runs_are_kept() {
        let root = tempfile::tempdir().unwrap();
        let old: Vec<PathBuf> = (0..12).map(|number| old_run(root.path(), number)).collect();
        let run = RunFolder::create(root.path()).unwrap();
        let left: Vec<bool> = old.iter().map(|path| path.exists()).collect();
        assert_eq!(left.iter().filter(|left| **left).count(), RUNS_MAX - 1);
        assert!(!old[0].exists() && old[11].exists() && run.path().exists());
    }

    #[test]
    fn a_live_run_and_a_folder_that_is_not_ours_are_never_removed() {
        let root = tempfile::tempdir().unwrap();
        let live = old_run(root.path(), 0);
        let lock = File::open(live.join(MARKER)).unwrap();
        lock.lock().unwrap();
        let foreign = root.path().join("run-20190101-000000-1");
        fs::create_dir(&foreign).unwrap();
        for number in 1..12 {
            old_run(root.path(), number);
        }
        RunFolder::create(root.path()).unwrap();
        assert!(live.exists() && foreign.exists());
    }

    #[test]
    fn latest_points_at_the_newest_run() {
        let root = tempfile::tempdir().unwrap();
        old_run(root.path(), 0);
        std::os::unix::fs::symlink("run-20200101-000000-1", root.path().join(LATEST)).unwrap();
        let run = RunFolder::create(root.path()).unwrap();
        assert_eq!(root.path().join(LATEST).canonicalize().unwrap(), run.path());
    }

    #[test]
    fn what_scenarios_went_on_without_is_in_one_file() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path()).unwrap();
        run.note_missing("Lab: writes", &["GAMMA (stopped)", "DELTA (stopped)"])
            .unwrap();
        run.note_missing("Lab: reads", &["GAMMA (stopped)"])
            .unwrap();
        assert_eq!(
            fs::read_to_string(run.path().join(MISSING)).unwrap(),
            "Lab: writes: GAMMA (stopped)\nLab: writes: DELTA (stopped)\nLab: reads: GAMMA (stopped)\n"
        );
    }

    #[test]
    fn each_attempt_of_a_scenario_has_a_readable_folder_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path()).unwrap();
        let feature = Path::new("features/lifecycle/fail_over.feature");
        let at = |attempt| {
            let path = run.attempt(feature, 12, "The leader's <host> dies!", attempt);
            path.strip_prefix(run.path()).unwrap().to_owned()
        };
        assert_eq!(
            at(1),
            Path::new("scenarios/features-lifecycle-fail-over/12-the-leader-s-host-dies")
        );
        assert!(at(2).to_string_lossy().ends_with("-dies-try-2"));
        assert_eq!(slug("..///"), "unnamed");
        let long = Path::new("/very").join("x".repeat(80)).join("end.feature");
        assert!(
            run.attempt(&long, 1, "n", 1)
                .parent()
                .unwrap()
                .ends_with(format!("{}-end", "x".repeat(56)))
        );
    }

    #[test]
    fn a_timestamp_sorts_as_time_does() {
        let moment = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(86_399);
        assert_eq!(timestamp(moment), "19700101-235959");
    }
}
