//! The process table, read from `/proc`. Processes come and go while it is read, so every answer may be a little old.

use std::fs;

use rustix::process::Pid;

/// What `/proc/<pid>/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: i32,
    group: i32,
}

/// All processes that can be seen.
pub(crate) fn processes() -> impl Iterator<Item = Pid> {
    numbers("/proc").filter_map(Pid::from_raw)
}

/// The environment that a process was started with; empty when it is a zombie or not ours to read.
pub(crate) fn environ(pid: Pid) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

/// The command line, cut to a length that a person reads.
pub(crate) fn command_line(pid: Pid) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&line).replace(['\0', '\n'], " ");
    text.trim_end().chars().take(SHOWN_CHARS_MAX).collect()
}

/// This process and all that it descends from.
pub(crate) fn own_line() -> Vec<Pid> {
    let mut line = vec![rustix::process::getpid()];
    let mut last = line[0];
    while let Some(parent) =
        stat(&format!("/proc/{last}/stat")).and_then(|s| Pid::from_raw(s.parent))
    {
        line.push(parent);
        last = parent;
    }
    line
}

/// The live processes of a group.
pub(crate) fn group(leader: Pid) -> Vec<Pid> {
    processes()
        .filter(|pid| {
            stat(&format!("/proc/{pid}/stat"))
                .is_some_and(|s| s.group == leader.as_raw_pid() && !is_over(s.state))
        })
        .collect()
}

/// Whether no thread of a process that was sent a stop runs any more. A process that has ended does not.
///
/// A thread in uninterruptible sleep counts: it stops before it runs again. It may stay like that, as a thread does that waits for a child between `vfork` and `exec` while the child is stopped.
pub(crate) fn is_frozen(pid: Pid) -> bool {
    threads(pid).all(|state| matches!(state, 'T' | 't' | 'D') || is_over(state))
}

/// Whether no thread of the process is stopped.
pub(crate) fn is_thawed(pid: Pid) -> bool {
    threads(pid).all(|state| state != 'T')
}

fn is_over(state: char) -> bool {
    matches!(state, 'Z' | 'X')
}

fn threads(pid: Pid) -> impl Iterator<Item = char> {
    let tasks = format!("/proc/{pid}/task");
    numbers(&tasks)
        .filter_map(move |thread| stat(&format!("{tasks}/{thread}/stat")))
        .map(|s| s.state)
}

fn numbers(folder: &str) -> impl Iterator<Item = i32> + use<> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn stat(path: &str) -> Option<Stat> {
    parse(&String::from_utf8_lossy(&fs::read(path).ok()?))
}

/// The name stands in brackets and may have brackets and spaces in it.
fn parse(stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    Some(Stat {
        state: fields.next()?.chars().next()?,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let parsed = parse("7 (a) R 1 (b) S 42 43 44 0 -1");
        let expected = Stat {
            state: 'S',
            parent: 42,
            group: 43,
        };
        assert_eq!(parsed, Some(expected));
        assert_eq!(parse("7 (a"), None);
    }

    #[test]
    fn our_own_line_begins_with_us_and_ends_at_the_first_process() {
        let line = own_line();
        assert_eq!(line[0], rustix::process::getpid());
        assert!(line.contains(&rustix::process::getppid().unwrap()));
    }
}
