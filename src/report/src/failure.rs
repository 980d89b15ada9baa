//! The failure report: all that one needs to know of a failed scenario, on one screen.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use crate::{LogLine, first_errors};

/// The most lines of an error that are shown; beginning and end are kept.
const ERROR_LINES_MAX: usize = 24;
/// How many of the last journal entries are shown.
const JOURNAL_LINES_MAX: usize = 8;
/// The most nodes whose log line is shown.
const LOG_LINES_MAX: usize = 7;
/// What the report is called in the folder of its attempt.
const FILE: &str = "failure.txt";

/// The step at which a scenario failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStep {
    /// Its keyword and text.
    pub text: String,
    /// Its feature file and line.
    pub place: String,
}

/// A failed attempt of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailureReport {
    /// What the scenario is called.
    pub title: String,
    /// Which attempt it was, from 1.
    pub attempt: usize,
    /// The step, unless it failed before or after its steps.
    pub step: Option<FailedStep>,
    /// What was wrong, with the last snapshot in words where something was awaited.
    pub error: String,
    /// The table of nodes as they were then.
    pub nodes: Option<String>,
    /// What was done to the cluster and what happened to it, oldest first.
    pub journal: Vec<String>,
    /// The first alarming line of each node's log.
    pub log_lines: Vec<LogLine>,
    /// Where everything about this attempt is kept.
    pub bundle: PathBuf,
    /// A command that runs the scenario again.
    pub again: String,
}

impl FailureReport {
    /// Reads the lines to look at first from the logs that were collected below `nodes`.
    #[must_use]
    pub fn with_logs_of(mut self, nodes: &Path) -> Self {
        self.log_lines = first_errors(nodes);
        self
    }

    /// Writes the report into the folder of its attempt, with the whole error however long it is.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write(&self) -> io::Result<()> {
        fs::create_dir_all(&self.bundle)?;
        fs::write(self.bundle.join(FILE), format!("{self:#}\n"))
    }
}

/// On one screen; all of the error in the alternate form.
impl fmt::Display for FailureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FAILED  {}", self.title)?;
        if self.attempt > 1 {
            write!(f, " (try {})", self.attempt)?;
        }
        if let Some(step) = &self.step {
            write!(f, "\n  at {}  ({})", step.text.trim(), step.place)?;
        }
        let lines_max = if f.alternate() {
            usize::MAX
        } else {
            ERROR_LINES_MAX
        };
        for line in middle_cut(&self.error, lines_max) {
            write!(f, "\n  | {line}")?;
        }
        if let Some(nodes) = &self.nodes {
            section(f, "nodes", nodes.lines())?;
        }
        let journal = &self.journal[self.journal.len().saturating_sub(JOURNAL_LINES_MAX)..];
        section(
            f,
            "what happened last",
            journal.iter().map(|entry| first_line(entry)),
        )?;
        let lines: Vec<String> = self
            .log_lines
            .iter()
            .take(LOG_LINES_MAX)
            .map(log_line)
            .collect();
        section(f, "logs", lines.iter().map(String::as_str))?;
        write!(f, "\n  bundle:    {}", self.bundle.display())?;
        write!(f, "\n  run again: {}", self.again)
    }
}

fn section<'a>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    lines: impl IntoIterator<Item = &'a str>,
) -> fmt::Result {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_some() {
        write!(f, "\n  {title}:")?;
    }
    lines.try_for_each(|line| write!(f, "\n    {line}"))
}

fn log_line(line: &LogLine) -> String {
    let which = if line.alarming {
        "first error"
    } else {
        "last line"
    };
    format!("{} ({which}): {}", line.node, line.text)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The lines of `text`, with the middle left out where there are more than `max`.
fn middle_cut(text: &str, max: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= max {
        return lines.into_iter().map(str::to_owned).collect();
    }
    let half = max / 2;
    let left_out = lines.len() - 2 * half;
    let begin = lines[..half].iter().map(|line| (*line).to_owned());
    let end = lines[lines.len() - half..]
        .iter()
        .map(|line| (*line).to_owned());
    begin
        .chain([format!(".. {left_out} lines are in the bundle ..")])
        .chain(end)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> FailureReport {
        FailureReport {
            title: "features/failover.feature:12: The leader dies".into(),
            attempt: 2,
            step: Some(FailedStep {
                text: "Then the nodes agree on a leader within 5 seconds".into(),
                place: "features/failover.feature:16".into(),
            }),
            error: "waited 5s for a leader; the last snapshot was\n  NODE_1: candidate".into(),
            nodes: Some("NODE    STATE\nNODE_1  running".into()),
            journal: (1..=10)
                .map(|n| format!("entry {n}\nwith details"))
                .collect(),
            log_lines: vec![LogLine {
                node: "NODE_1".into(),
                alarming: true,
                text: "ERROR x".into(),
            }],
            bundle: "/runs/1/scenarios/a/12-b-try-2".into(),
            again: "cargo test --test cucumber -- features/failover.feature:12".into(),
        }
    }

    #[test]
    fn a_failure_fits_one_screen_and_says_what_to_do_next() {
        insta::assert_snapshot!(report(), @r"
        FAILED  features/failover.feature:12: The leader dies (try 2)
          at Then the nodes agree on a leader within 5 seconds  (features/failover.feature:16)
          | waited 5s for a leader; the last snapshot was
          |   NODE_1: candidate
          nodes:
            NODE    STATE
            NODE_1  running
          what happened last:
            entry 3
            entry 4
            entry 5
            entry 6
            entry 7
            entry 8
            entry 9
            entry 10
          logs:
            NODE_1 (first error): ERROR x
          bundle:    /runs/1/scenarios/a/12-b-try-2
          run again: cargo test --test cucumber -- features/failover.feature:12
        ");
    }

    #[test]
    fn a_failure_without_a_cluster_shows_no_empty_sections() {
        let report = FailureReport {
            title: "t".into(),
            error: "no room".into(),
            bundle: "/b".into(),
            again: "x".into(),
            ..FailureReport::default()
        };
        assert_eq!(
            report.to_string(),
            "FAILED  t\n  | no room\n  bundle:    /b\n  run again: x"
        );
    }

    #[test]
    fn the_longest_report_still_fits_fifty_lines() {
        let many = |n: usize| (0..n).map(|n| format!("line {n}")).collect::<Vec<_>>();
        let line = |n: usize| LogLine {
            node: format!("N{n}"),
            alarming: false,
            text: "x".into(),
        };
        let report = FailureReport {
            error: many(500).join("\n"),
            nodes: None,
            journal: many(500),
            log_lines: (0..100).map(line).collect(),
            ..report()
        };
        let text = report.to_string();
        assert!(text.lines().count() <= 50, "{} lines", text.lines().count());
        assert!(
            text.contains("| line 0\n") && text.contains("| line 499\n"),
            "{text}"
        );
    }

    #[test]
    fn the_report_is_kept_beside_the_logs() {
        let root = tempfile::tempdir().unwrap();
        let report = FailureReport {
            error: "line\n".repeat(500),
            bundle: root.path().join("a/b"),
            ..report()
        };
        report.write().unwrap();
        let text = fs::read_to_string(root.path().join("a/b/failure.txt")).unwrap();
        assert_eq!(text.matches("| line\n").count(), 500);
    }
}
