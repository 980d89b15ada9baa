//! Survivors: finds the processes that carry a label and ends them, whoever their parent is by now.
//!
//! A process is never killed by a number that was written down: the label is read, a process descriptor is opened, the label is read again, and the signal goes to the descriptor.

use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use crate::{label::Label, procfs};

/// What became of the processes with a label, each in words.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    pub(crate) ended: Vec<String>,
    /// Still there when the time was over.
    pub(crate) left: Vec<String>,
}

struct Survivor {
    pid: Pid,
    fd: OwnedFd,
}

/// Kills every process that has `label`, stopped ones too, and those that they start meanwhile, until none is found.
///
/// This process and those that it descends from are left alone. Blocks, for `within` at most.
pub(crate) fn end_all(label: &Label, within: Duration) -> Sweep {
    let deadline = Instant::now() + within;
    let mut seen: BTreeMap<i32, String> = BTreeMap::new();
    loop {
        let found = find(label);
        if found.is_empty() {
            return Sweep {
                ended: seen.into_values().collect(),
                left: Vec::new(),
            };
        }
        for survivor in &found {
            seen.entry(survivor.pid.as_raw_pid())
                .or_insert_with(|| in_words(survivor.pid));
            // One that has ended in between is no failure, and one that refuses is found again.
            let _ = pidfd_send_signal(&survivor.fd, Signal::KILL);
        }
        if !wait_for_ends(&found, deadline) {
            let left: Vec<Pid> = find(label).iter().map(|survivor| survivor.pid).collect();
            let is_left = |pid: &i32| left.iter().any(|other| other.as_raw_pid() == *pid);
            let (left, ended): (BTreeMap<_, _>, BTreeMap<_, _>) =
                seen.into_iter().partition(|(pid, _)| is_left(pid));
            return Sweep {
                ended: ended.into_values().collect(),
                left: left.into_values().collect(),
            };
        }
    }
}

fn find(label: &Label) -> Vec<Survivor> {
    let spared = procfs::own_line();
    let has_label = |pid: Pid| label.is_on(&procfs::environ(pid));
    procfs::processes()
        .filter(|pid| !spared.contains(pid) && has_label(*pid))
        .filter_map(|pid| {
            let fd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
            // The number may have passed to another process before the descriptor was opened.
            has_label(pid).then_some(Survivor { pid, fd })
        })
        .collect()
}

/// Gives whether all of them ended before the deadline.
fn wait_for_ends(survivors: &[Survivor], deadline: Instant) -> bool {
    survivors.iter().all(|survivor| {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        let mut fds = [PollFd::new(&survivor.fd, PollFlags::IN)];
        // A wait that a signal cut short is made up for by the next search.
        poll(&mut fds, timeout.as_ref()).is_ok_and(|ready| ready > 0) || Instant::now() < deadline
    })
}

fn in_words(pid: Pid) -> String {
    format!("process {pid} ({})", procfs::command_line(pid))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::forks;

    const WITHIN: Duration = Duration::from_secs(10);

    fn sleeper(run: &str) -> Child {
        forks::spawn(
            Command::new("sleep")
                .arg("600")
                .env("TRELLIS_RUN", run)
                .stdin(Stdio::null()),
        )
    }

    fn label(run: &str) -> Label {
        Label::run(run.parse().unwrap())
    }

    #[test]
    fn processes_with_the_label_are_ended_and_others_are_not() {
        let mut ours = [sleeper("sweep-1"), sleeper("sweep-1")];
        let mut other = sleeper("sweep-10");
        let stopped = Pid::from_child(&ours[1]);
        rustix::process::kill_process(stopped, Signal::STOP).unwrap();
        let sweep = end_all(&label("sweep-1"), WITHIN);
        assert_eq!((sweep.ended.len(), sweep.left.len()), (2, 0), "{sweep:?}");
        assert!(sweep.ended[0].ends_with("(sleep 600)"), "{sweep:?}");
        for child in &mut ours {
            assert!(child.try_wait().unwrap().is_some());
        }
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn no_process_with_the_label_is_nothing_to_do() {
        let sweep = end_all(&label("sweep-none"), WITHIN);
        assert!(sweep.ended.is_empty() && sweep.left.is_empty());
    }
}
