//! The summary: what is printed before and after a run, around cucumber's own results.

use std::{collections::BTreeMap, path::Path};

use trellis_bootstrap::{LedgerError, RunLedger, in_one_line, known_runs};

use super::{options::HarnessOptions, record::Outcome, screen::Screen};
use crate::{Program, check::SuiteCheck};

/// The scenarios, as `cargo test` and its tools list tests.
pub(crate) fn list(checked: &SuiteCheck, options: &HarnessOptions, screen: &Screen) {
    let ignored = options.wants_nothing();
    let names: Vec<String> = checked.names().filter(|_| !ignored).collect();
    for name in &names {
        screen.line(format_args!("{name}: test"));
    }
    if !options.is_terse() {
        screen.line(format_args!("\n{} tests, 0 benchmarks", names.len()));
    }
}

/// What the check found, and that this is why nothing was started.
pub(crate) fn problems(checked: &SuiteCheck, options: &HarnessOptions, screen: &Screen) {
    for problem in &checked.problems {
        screen.aside(problem.render(options.colored()));
    }
    let problems = counted(checked.problems.len(), "problem");
    let place = match checked.scenarios() {
        // None could be read.
        0 => String::new(),
        scenarios => format!(" in {}", counted(scenarios, "scenario")),
    };
    screen.aside(format_args!("{problems}{place}; nothing was started"));
}

/// Says which runs were killed and left something behind.
///
/// Ledgers that cannot be read are no reason not to run.
pub(crate) fn abandoned(state: &Path, screen: &Screen) {
    let known = match known_runs(state) {
        Ok(known) => known,
        Err(error) => {
            let error = in_one_line(&error);
            return screen.aside(format_args!(
                "note: whether earlier runs left things behind is not known: {error}"
            ));
        }
    };
    // A ledger with nothing in it may be that of a run that is just beginning.
    let left_behind = known
        .abandoned
        .iter()
        .filter(|run| !run.left().is_empty())
        .count();
    if left_behind > 0 {
        let runs = counted(left_behind, "killed run");
        screen.line(format_args!(
            "note: {runs} left things behind; `trellis clean` removes them"
        ));
    }
}

/// Closes the ledger, and says what is left in it.
pub(crate) fn left(ledger: &RunLedger, screen: &Screen) -> Result<(), LedgerError> {
    let left = ledger.close()?;
    for resource in &left {
        screen.line(format_args!(
            "left behind: {} {} ({})",
            resource.kind, resource.id, resource.backend
        ));
    }
    if !left.is_empty() {
        screen.line("`trellis clean` removes what was left behind");
    }
    Ok(())
}

/// Says which programs scenarios are skipped for want of.
pub(crate) fn lacking(lacking: &BTreeMap<Program, usize>, screen: &Screen) {
    for (program, count) in lacking {
        screen.line(format_args!(
            "skipped: {}, because {}; to install it: {}",
            counted(*count, "scenario"),
            program.is_missing(),
            program.install()
        ));
    }
}

/// The last lines of a run; the very last one is for programs.
pub(crate) fn outcome(outcome: &Outcome, folder: &Path, screen: &Screen) {
    for report in &outcome.flaky {
        let why = report.error.lines().next().unwrap_or_default();
        screen.line(format_args!(
            "flaky: {} failed first: {why} ({})",
            report.title,
            report.bundle.display()
        ));
    }
    lacking(&outcome.lacking, screen);
    if outcome.interrupted > 0 {
        screen.line(format_args!("{} interrupted", outcome.interrupted));
    }
    if outcome.not_run > 0 {
        screen.line(format_args!("{} not run", outcome.not_run));
    }
    screen.line(format_args!("run folder: {}", folder.display()));
    let skipped = outcome.skipped + outcome.aside + outcome.interrupted + outcome.not_run;
    screen.line(format_args!(
        "{} passed, {} failed, {skipped} skipped",
        outcome.passed,
        outcome.failed.len()
    ));
}

/// `1 problem`, `2 problems`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
