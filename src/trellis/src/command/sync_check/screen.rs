//! Screen: what is written while one waits, and in the end: lines for people, or JSON for programs.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use trellis_chain::sync::{SyncProgress, SyncReport};

use super::report;

/// How often a line is written where lines stay.
const LINE_EVERY: Duration = Duration::from_secs(3);

/// Where looks are shown.
pub(super) struct Screen {
    json: bool,
    is_terminal: bool,
    looks: u64,
    written: Option<Instant>,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            is_terminal: std::io::stdout().is_terminal(),
            looks: 0,
            written: None,
        }
    }

    /// No node has answered yet.
    pub(super) fn waiting(&mut self, why: &str) {
        if !self.json {
            self.progress(&format!("no node answers: {why}"));
        }
    }

    /// One look.
    pub(super) fn look(&mut self, progress: &SyncProgress) {
        self.looks += 1;
        if self.json {
            let mut line = report::look(progress);
            line["look"] = json!(self.looks);
            write(&line.to_string());
        } else {
            self.progress(&progress.to_string());
        }
    }

    /// The end. People read why it failed on stderr, as of all commands.
    pub(super) fn done(&self, report: &SyncReport, code: u8) {
        self.close();
        if self.json {
            let mut line = report::look(&report.progress);
            line["done"] = json!(true);
            line["looks"] = json!(self.looks);
            line["exit_code"] = json!(code);
            line["timed_out"] = json!(report.timed_out);
            line["says"] = json!(report.verdict.to_string());
            write(&line.to_string());
        } else if code == 0 {
            write(&report.verdict.to_string());
        }
    }

    /// It was ended from outside.
    pub(super) fn interrupted(&self, code: u8) {
        self.close();
        if self.json {
            let line: Value = json!({
                "done": true,
                "verdict": "interrupted",
                "looks": self.looks,
                "exit_code": code,
            });
            write(&line.to_string());
        }
    }

    /// On a terminal one line is written over and over.
    fn progress(&mut self, text: &str) {
        if self.is_terminal {
            let mut out = std::io::stdout().lock();
            let _ = write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush());
            self.written = Some(Instant::now());
        } else if self.written.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            write(text);
            self.written = Some(Instant::now());
        }
    }

    fn close(&self) {
        if self.is_terminal && !self.json && self.written.is_some() {
            write("");
        }
    }
}

/// Writes a line. Whoever reads may have read enough; the exit code is still wanted.
fn write(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
