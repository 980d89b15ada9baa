//! A process that runs a node: the leader of a process group, watched until it has ended.
//!
//! The number of a process may pass to a stranger once it has been waited for. So signals are sent under the lock under which the end is collected, and never after it.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group,
        pidfd_open, waitid,
    },
};
use tokio::{
    process::Child,
    signal::unix::{self, SignalKind},
    sync::watch,
};

use crate::procfs;

/// How long killed processes of a group may take to be gone.
const OTHERS_END_WITHIN: Duration = Duration::from_secs(2);

/// A process and its group.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    leader: Mutex<Leader>,
    end: watch::Sender<Option<ExitStatus>>,
}

#[derive(Debug, Default)]
struct Leader {
    /// It was waited for; its number is not ours any more.
    is_collected: bool,
    /// We told it to end.
    is_ordered_to_end: bool,
}

/// A process whose end has yet to be collected. Dropped before that, when the runtime ends, it kills the group.
#[derive(Debug)]
pub(crate) struct Watched {
    process: Arc<Process>,
    child: Child,
    /// Wakes when any child of the harness changes.
    changes: unix::Signal,
}

impl Watched {
    /// Takes over a child that was started as the leader of its own group.
    pub(crate) fn new(child: Child) -> std::io::Result<Self> {
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
            .expect("the child was not waited for yet");
        let changes = unix::signal(SignalKind::child())?;
        Ok(Self {
            process: Arc::new(Process {
                pid,
                leader: Mutex::default(),
                end: watch::Sender::new(None),
            }),
            child,
            changes,
        })
    }

    pub(crate) fn process(&self) -> Arc<Process> {
        self.process.clone()
    }

    /// Waits for the leader's end, then kills what is left of its group, then collects it.
    pub(crate) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        // It is looked at first, since it may have ended before the changes were listened to.
        while !has_ended(self.process.pid)? {
            if self.changes.recv().await.is_none() {
                return Err(std::io::Error::other(
                    "the runtime hears no signals any more",
                ));
            }
        }
        self.process.signal(&self.process.lock(), Signal::KILL);
        // A killed process takes a moment to let go of its ports and files. While the leader is not collected the number of its group cannot belong to anybody else.
        let pid = self.process.pid;
        let others = tokio::task::spawn_blocking(move || wait_for_others(pid, OTHERS_END_WITHIN));
        others.await.map_err(std::io::Error::other)?;
        let mut leader = self.process.lock();
        let collected = self.child.try_wait();
        leader.is_collected = true;
        collected?.ok_or_else(|| std::io::Error::other("it has ended, but its status is not there"))
    }
}

/// Waits until the leader, which has ended, is the only one left of its group. Blocks, for `within` at most.
fn wait_for_others(leader: Pid, within: Duration) {
    let deadline = Instant::now() + within;
    let others = procfs::group(leader)
        .into_iter()
        .filter(|pid| *pid != leader);
    for fd in others.filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        // One that is still there in the end is found by its label, or named as left behind.
        let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], left.as_ref());
    }
}

/// Whether a child has ended, without collecting it.
fn has_ended(pid: Pid) -> std::io::Result<bool> {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(pid), look)?.is_some())
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut leader = self.process.lock();
        self.process.signal(&leader, Signal::KILL);
        leader.is_collected = true;
    }
}

impl Process {
    fn lock(&self) -> std::sync::MutexGuard<'_, Leader> {
        self.leader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For people.
    pub(crate) fn label(&self) -> String {
        format!("pid {}", self.pid)
    }

    /// Signals the whole group, if the leader is still ours. One that has just ended is no failure.
    fn signal(&self, leader: &Leader, signal: Signal) {
        if !leader.is_collected {
            let _ = kill_process_group(self.pid, signal);
        }
    }

    /// Asks the leader alone to end, as container runtimes do; it knows what to do with its children. A paused group is thawed, or it could not.
    pub(crate) fn ask_to_end(&self) {
        let mut leader = self.lock();
        leader.is_ordered_to_end = true;
        if !leader.is_collected {
            let _ = kill_process(self.pid, Signal::TERM);
        }
        self.signal(&leader, Signal::CONT);
    }

    /// Kills the whole group.
    pub(crate) fn kill(&self) {
        let mut leader = self.lock();
        leader.is_ordered_to_end = true;
        self.signal(&leader, Signal::KILL);
    }

    /// Whether its end was ordered by us.
    pub(crate) fn is_ordered_to_end(&self) -> bool {
        self.lock().is_ordered_to_end
    }

    /// Says that the end was collected and all that follows from it is done.
    pub(crate) fn publish_end(&self, status: ExitStatus) {
        self.end.send_replace(Some(status));
    }

    /// How it ended, if it has.
    pub(crate) fn end(&self) -> Option<ExitStatus> {
        *self.end.borrow()
    }

    /// Waits until it has ended. Cancel-safe.
    pub(crate) async fn wait_for_end(&self) -> ExitStatus {
        let mut end = self.end.subscribe();
        let ended = end.wait_for(Option::is_some).await;
        ended
            .ok()
            .and_then(|end| *end)
            .expect("the sender is in self, and the value was just seen")
    }

    /// Stops every process of the group. Blocks until they are stopped; gives whether they were `within` that time.
    pub(crate) fn freeze(&self, within: Duration) -> bool {
        self.signal(&self.lock(), Signal::STOP);
        self.is_soon(within, procfs::is_frozen)
    }

    /// Lets every process of the group go on. Blocks until they do; gives whether they did `within` that time.
    pub(crate) fn thaw(&self, within: Duration) -> bool {
        self.signal(&self.lock(), Signal::CONT);
        self.is_soon(within, procfs::is_thawed)
    }

    /// The kernel tells nobody but the parent about stops, and of grandchildren that is not us; so this has to look again and again.
    fn is_soon(&self, within: Duration, condition: fn(Pid) -> bool) -> bool {
        const INTERVAL: Duration = Duration::from_millis(1);
        let deadline = Instant::now() + within;
        loop {
            let group = procfs::group(self.pid);
            if group.is_empty() {
                return false;
            }
            if group.into_iter().all(condition) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(INTERVAL);
        }
    }
}

/// An exit status in words.
pub(crate) fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => match signal_name(signal) {
            Some(name) => format!("killed by signal {signal} ({name})"),
            None => format!("killed by signal {signal}"),
        },
        (None, None) => status.to_string(),
    }
}

/// The names of the signals that end a process in practice.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match Signal::from_named_raw(signal)? {
        Signal::HUP => "SIGHUP",
        Signal::INT => "SIGINT",
        Signal::QUIT => "SIGQUIT",
        Signal::ILL => "SIGILL",
        Signal::TRAP => "SIGTRAP",
        Signal::ABORT => "SIGABRT",
        Signal::BUS => "SIGBUS",
        Signal::FPE => "SIGFPE",
        Signal::KILL => "SIGKILL",
        Signal::SEGV => "SIGSEGV",
        Signal::PIPE => "SIGPIPE",
        Signal::ALARM => "SIGALRM",
        Signal::TERM => "SIGTERM",
        Signal::XCPU => "SIGXCPU",
        Signal::XFSZ => "SIGXFSZ",
        Signal::SYS => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_status_reads_as_words() {
        assert_eq!(in_words(ExitStatus::from_raw(3 << 8)), "exit code 3");
        assert_eq!(
            in_words(ExitStatus::from_raw(9)),
            "killed by signal 9 (SIGKILL)"
        );
        assert_eq!(in_words(ExitStatus::from_raw(40)), "killed by signal 40");
    }
}
