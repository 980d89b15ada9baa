//! A harness that is killed in the middle of a run: what the kernel ends, what `reap` ends, and what neither may touch.

mod support;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use support::{Bed, TESTBED, is_alive, state, unique, until};
use trellis_bootstrap::known_runs;
use trellis_local::reap;

/// A harness with five nodes, two of them paused, and the numbers of the nodes' processes.
struct Harness {
    process: Child,
    run: String,
    nodes: Vec<String>,
}

impl Harness {
    fn boot(state: &Path, folder: &Path) -> Self {
        let run = unique("killed");
        let mut process = Command::new(TESTBED)
            .args(["run", &run])
            .args([state, folder])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let nodes = lines
            .map(Result::unwrap)
            .take_while(|line| line != "ready")
            .map(|line| line.trim_start_matches("pid ").to_owned())
            .collect();
        Self {
            process,
            run,
            nodes,
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A test that fails leaves no harness behind; its nodes end with it.
impl Drop for Harness {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The processes that carry the label of the run.
fn labelled(run: &str) -> Vec<String> {
    let entry = format!("TRELLIS_RUN={run}");
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let environ = std::fs::read(process.path().join("environ")).unwrap_or_default();
        if environ
            .split(|byte| *byte == 0)
            .any(|other| other == entry.as_bytes())
        {
            found.push(process.file_name().into_string().unwrap());
        }
    }
    found
}

/// Waits until all children of the nodes run that will not end with the harness.
async fn strays(harness: &Harness) -> Vec<String> {
    until("every node's stray child", || {
        let pids = labelled(&harness.run);
        let is_stray = |pid: &String| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line == "sleep\u{0}601\u{0}")
        };
        let strays: Vec<String> = pids.into_iter().filter(is_stray).collect();
        (strays.len() == 5).then_some(strays)
    })
    .await
}

#[tokio::test]
async fn nothing_survives_a_killed_harness_and_a_reap() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("clusters/one");
    let mut harness = Harness::boot(home.path(), &folder);
    assert_eq!(harness.nodes.len(), 5);
    let strays = strays(&harness).await;
    for (position, pid) in harness.nodes.iter().enumerate() {
        assert_eq!(
            state(pid) == Some('T'),
            position >= 3,
            "{pid} is {:?}",
            state(pid)
        );
    }

    // While it lives it is nobody's to clean.
    let known = known_runs(home.path()).unwrap();
    assert_eq!((known.live.len(), known.abandoned.len()), (1, 0));

    harness.kill();
    let nodes = harness.nodes.clone();
    until("the kernel to end the nodes, the paused ones too", || {
        (!nodes.iter().any(|pid| is_alive(pid))).then_some(())
    })
    .await;
    for pid in &strays {
        assert!(is_alive(pid), "{pid} should need the reap");
    }

    // A foreign process, and another run that lives.
    let mut foreign = Command::new("sleep")
        .arg("603")
        .env("TRELLIS_RUN", format!("{}0", harness.run))
        .spawn()
        .unwrap();
    let other_run = Bed::new().await;
    other_run
        .sh("NODE_1", "echo $$ > data/pid; sleep 604 & wait")
        .await;
    let other = other_run.file("NODE_1", "pid").await;

    let mut known = known_runs(home.path()).unwrap();
    let abandoned = known.abandoned.pop().unwrap();
    let kinds: Vec<&str> = abandoned
        .left()
        .iter()
        .map(|left| left.kind.as_str())
        .collect();
    assert_eq!(kinds, ["folder", "processes"]);
    let report = reap(&abandoned).unwrap();
    assert!(report.ended.len() >= strays.len(), "{report}");
    assert_eq!(report.removed, [folder.display().to_string()]);
    assert_eq!(labelled(&harness.run), [""; 0]);
    assert!(!folder.exists());
    assert!(foreign.try_wait().unwrap().is_none() && is_alive(&other));
    assert_eq!(reap(&abandoned).unwrap().to_string(), "nothing was left");
    abandoned.forget().unwrap();
    assert!(known_runs(home.path()).unwrap().abandoned.is_empty());

    foreign.kill().unwrap();
    foreign.wait().unwrap();
    other_run.control.teardown().await.unwrap();
}

#[tokio::test]
async fn a_folder_that_lost_its_mark_is_kept_and_told_while_the_rest_is_removed() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("one");
    let mut harness = Harness::boot(home.path(), &folder);
    strays(&harness).await;
    harness.kill();
    std::fs::remove_file(folder.join(".trellis-run")).unwrap();
    let abandoned = known_runs(home.path()).unwrap().abandoned.pop().unwrap();
    let error = reap(&abandoned).unwrap_err();
    assert!(
        error.to_string().contains("no .trellis-run file of run"),
        "{error}"
    );
    assert!(!error.done.ended.is_empty());
    assert_eq!(labelled(&harness.run), [""; 0]);
    assert!(folder.exists());
}
