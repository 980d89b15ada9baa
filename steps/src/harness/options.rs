//! Options: what can be said on the command line, completed by what the settings say.
//!
//! This is the one place that reads the command line, and the one that has the settings read; below it everything is given.

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use gherkin::tagexpr::TagOperation;
use regex::Regex;
use trellis_settings::{ColorChoice, Environment, Settings, SettingsError, SettingsSource};

use crate::check::Selection;

/// How many nodes a core may have to run at one time, unless it is said.
const NODES_PER_CORE: usize = 6;
/// How much free memory a node is reckoned with, unless it is said how many there may be.
const MEMORY_PER_NODE_MIB: usize = 128;
/// The smallest node budget that is chosen by itself: one large scenario must always fit.
const NODES_MIN: usize = 8;
/// How many scenarios a core may have to run at one time, unless it is said.
const SCENARIOS_PER_CORE: usize = 2;
/// The most scenarios at one time that are chosen by themselves.
const SCENARIOS_MAX: usize = 16;

/// Runs features on real clusters.
///
/// All scenarios that are asked for are checked first, before anything is started; a single undefined step, unknown node name or operation that must be refused keeps the whole run from beginning.
/// Then scenarios run in parallel within a budget of nodes, each on a cluster of its own. What a run leaves is in one folder, with the logs and configurations of the nodes of every scenario that failed.
///
/// Exit code: 0 all passed, 1 some failed, 2 the check found problems or the call was wrong, 130 interrupted.
#[derive(Debug, Clone, Parser)]
#[command(name = "cucumber", disable_version_flag = true, verbatim_doc_comment)]
pub struct HarnessOptions {
    /// Features to run: files, folders or globs, a file also with a line (`a.feature:12`). Anything else is a part of scenarios' names, as `cargo test` wants it.
    #[arg(value_name = "FEATURES|FILTER")]
    positional: Vec<String>,
    /// Features to run; may be given several times.
    #[arg(
        short,
        long = "input",
        value_name = "FILE|FOLDER|GLOB[:LINE]",
        help_heading = "Which scenarios"
    )]
    inputs: Vec<String>,
    /// Only scenarios whose tags fit, such as '@smoke and not @slow' [env: CUCUMBER_FILTER_TAGS]
    #[arg(
        short,
        long,
        value_name = "EXPRESSION",
        help_heading = "Which scenarios"
    )]
    tags: Option<TagOperation>,
    /// Only scenarios whose name matches.
    #[arg(
        short,
        long,
        value_name = "REGEX",
        visible_alias = "scenario-name",
        help_heading = "Which scenarios"
    )]
    name: Option<Regex>,
    /// Leaves out scenarios with this in their full name.
    #[arg(long, value_name = "FILTER", help_heading = "Which scenarios")]
    skip: Vec<String>,
    /// Takes FILTER and --skip for full names, as --list prints them.
    #[arg(long, help_heading = "Which scenarios")]
    exact: bool,
    /// Lists the scenarios and runs none.
    #[arg(long, help_heading = "Which scenarios")]
    pub(crate) list: bool,
    /// Checks the scenarios and runs none.
    #[arg(long, help_heading = "Which scenarios")]
    pub(crate) dry_run: bool,

    /// How many scenarios may run at one time [default: 2 for each core]
    #[arg(short, long, value_name = "N", help_heading = "How to run them")]
    concurrency: Option<NonZeroUsize>,
    /// How many nodes may run at one time [env: TRELLIS_NODES] [default: by cores and memory]
    #[arg(long, value_name = "N", help_heading = "How to run them")]
    nodes: Option<NonZeroUsize>,
    /// Stops at the first failure; what runs then is finished.
    #[arg(long = "fail-fast", visible_alias = "ff", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "How to run them")]
    fail_fast_said: Option<bool>,
    /// That, completed.
    #[arg(skip)]
    pub(crate) fail_fast: bool,
    /// How often a failed scenario is tried again. One that passes then is reported as flaky.
    #[arg(long, value_name = "N", help_heading = "How to run them")]
    pub(crate) retry: Option<usize>,
    /// How long to wait before that.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, help_heading = "How to run them")]
    pub(crate) retry_after: Option<Duration>,
    /// Which scenarios may be tried again.
    #[arg(long, value_name = "EXPRESSION", help_heading = "How to run them")]
    pub(crate) retry_tag_filter: Option<TagOperation>,

    /// The file with the settings [env: TRELLIS_CONFIG] [default: the nearest trellis.toml above the features]
    #[arg(long, value_name = "FILE", help_heading = "On what")]
    pub(crate) config: Option<PathBuf>,
    /// The backend that nodes run on [env: TRELLIS_DEPLOYER] [default: the first that is known, mostly local]
    #[arg(long, value_name = "NAME", help_heading = "On what")]
    pub(crate) deployer: Option<String>,
    /// The ports that local nodes may have, such as 20000-20999 [default: any free one]
    #[arg(long, value_name = "FIRST-LAST", value_parser = port_range, help_heading = "On what")]
    pub ports: Option<RangeInclusive<u16>>,

    /// What becomes of scenarios whose application lacks a program on this machine [default: fail where CI is set, else skip]
    #[arg(
        long = "missing",
        value_enum,
        value_name = "WHAT",
        help_heading = "On what"
    )]
    missing_said: Option<Missing>,
    /// That, completed.
    #[arg(skip)]
    pub(crate) missing: Missing,
    /// Where programs are looked for.
    #[arg(skip)]
    pub(crate) search_path: Option<OsString>,

    /// The folder that runs leave their folders in [env: TRELLIS_OUT]
    #[arg(long, value_name = "DIR", help_heading = "What is left")]
    pub(crate) out: Option<PathBuf>,
    /// The folder in which runs write down what they own, for `trellis clean` [env: TRELLIS_STATE]
    #[arg(long, value_name = "DIR", help_heading = "What is left")]
    state: Option<PathBuf>,
    /// Keeps the logs and configurations of scenarios that passed, too.
    #[arg(long = "keep", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = "What is left")]
    keep_said: Option<bool>,
    /// That, completed.
    #[arg(skip)]
    pub keep: bool,
    /// Whether to use colors [env: NO_COLOR] [default: auto]
    #[arg(
        long = "color",
        value_enum,
        value_name = "WHEN",
        help_heading = "What is shown"
    )]
    color_said: Option<Color>,
    /// That, completed.
    #[arg(skip)]
    pub(crate) color: Color,
    /// What of the harness's own log is wanted, as the settings say.
    #[arg(skip)]
    pub(crate) log: Option<String>,
    /// Shows more; twice for doc strings.
    #[arg(short, action = clap::ArgAction::Count, help_heading = "What is shown")]
    pub(crate) verbose: u8,

    #[command(flatten)]
    libtest: LibtestOptions,
}

/// What `cargo test` and its tools may say, beyond what is said above.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "For cargo test")]
struct LibtestOptions {
    /// The same as --concurrency.
    #[arg(long, value_name = "N")]
    test_threads: Option<NonZeroUsize>,
    /// Runs no scenario: none is ignored.
    #[arg(long)]
    ignored: bool,
    /// Accepted; no scenario is ignored.
    #[arg(long)]
    include_ignored: bool,
    /// Accepted; output is never captured.
    #[arg(long, visible_alias = "no-capture")]
    nocapture: bool,
    /// Accepted; output is always shown.
    #[arg(long)]
    show_output: bool,
    /// Accepted.
    #[arg(short, long)]
    quiet: bool,
    /// Accepted; `terse` shortens --list.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

/// What to do with scenarios whose application lacks a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Missing {
    /// Skip them, and say why.
    #[default]
    Skip,
    /// Refuse to run anything.
    Fail,
}

/// When to use colors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl HarnessOptions {
    /// Reads the command line of this process, which people call as `command`.
    ///
    /// # Errors
    /// A wrong call, or a call for help; the error knows how to be printed.
    pub(crate) fn of_process(command: &'static str) -> Result<Self, clap::Error> {
        let matches = Self::command().bin_name(command).try_get_matches()?;
        Self::from_arg_matches(&matches)
    }

    /// Reads the settings for features below `features` and lets them say what the command line did not.
    ///
    /// # Errors
    /// Whatever is wrong with the settings.
    pub(crate) fn complete(
        &mut self,
        features: &Path,
        environment: Environment,
    ) -> Result<Settings, SettingsError> {
        let no_color = environment.get("NO_COLOR").is_some();
        self.search_path = environment.get("PATH");
        self.missing = self.missing_said.unwrap_or(missing(&environment));
        self.color = color(self.color_said, None, no_color);
        let settings = Settings::load(&SettingsSource {
            file: self.config.clone(),
            start: features.to_owned(),
            environment,
        })?;
        let run = settings.run.clone();
        self.color = color(self.color_said, run.color, no_color);
        if self.tags.is_none() {
            let wanted = "a tag expression such as '@smoke and not @slow'";
            self.tags = settings.variable("CUCUMBER_FILTER_TAGS", wanted)?;
        }
        self.concurrency = self.concurrency.or(self.libtest.test_threads);
        self.concurrency = self.concurrency.or(run.concurrency);
        self.nodes = self.nodes.or(run.nodes);
        self.fail_fast = self.fail_fast_said.or(run.fail_fast).unwrap_or_default();
        self.retry = self.retry.or(run.retry);
        if self.retry.is_some() {
            // By itself it would mean that scenarios are tried again, which nobody asked for.
            self.retry_after = self.retry_after.or(run.retry_after);
        }
        self.deployer = self.deployer.take().or(run.deployer);
        self.ports = self.ports.take().or(run.ports);
        self.out = self.out.take().or(run.out);
        self.state = Some(self.state.take().unwrap_or_else(|| settings.state_folder()));
        self.keep = self.keep_said.or(run.keep).unwrap_or_default();
        self.log = run.log;
        Ok(settings)
    }

    /// Whether problems are drawn with colors.
    pub(crate) fn colored(&self) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io::stderr().is_terminal(),
        }
    }

    /// What of the harness's own log is wanted.
    pub(crate) fn log_filter(&self) -> &str {
        self.log.as_deref().unwrap_or("info")
    }

    /// Which scenarios are meant, if the features are below `root`.
    pub(crate) fn selection(&self, root: &Path) -> Selection {
        let (more, filters): (Vec<String>, Vec<String>) = self
            .positional
            .iter()
            .cloned()
            .partition(|text| Selection::is_input(text, root));
        Selection {
            inputs: self.inputs.iter().cloned().chain(more).collect(),
            filters,
            skips: self.skip.clone(),
            exact: self.exact,
            tags: self.tags.clone(),
            name: self.name.clone(),
        }
    }

    /// Whether only ignored scenarios are wanted, of which there are none.
    pub(crate) fn wants_nothing(&self) -> bool {
        self.libtest.ignored && !self.libtest.include_ignored
    }

    /// Whether a list is for a program.
    pub(crate) fn is_terse(&self) -> bool {
        self.libtest.format.as_deref() == Some("terse")
    }

    /// How many scenarios may run at one time.
    pub(crate) fn concurrency(&self) -> usize {
        self.concurrency.map_or_else(
            || (cores() * SCENARIOS_PER_CORE).min(SCENARIOS_MAX),
            NonZeroUsize::get,
        )
    }

    /// How many nodes may run at one time.
    pub(crate) fn budget(&self) -> usize {
        let by_itself = || {
            let by_memory = free_memory_mib().map(|free| free / MEMORY_PER_NODE_MIB);
            by_memory
                .unwrap_or(usize::MAX)
                .min(cores() * NODES_PER_CORE)
                .max(NODES_MIN)
        };
        self.nodes.map_or_else(by_itself, NonZeroUsize::get)
    }

    /// Where runs write down what they own.
    pub fn state(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(default_state_folder)
    }
}

/// What is missing on a machine of one's own may be skipped; nobody reads what CI skipped.
fn missing(environment: &Environment) -> Missing {
    let ci = environment.get("CI");
    if ci.is_some_and(|ci| ci != "false" && ci != "0") {
        Missing::Fail
    } else {
        Missing::Skip
    }
}

/// Where runs write down what they own, unless it is said: `trellis` in the user's state folder, or in the temporary folder where there is none.
pub fn default_state_folder() -> PathBuf {
    trellis_settings::default_state_folder(&Environment::of_process())
}

/// A user who wants no colors anywhere wants none where it is left to us either.
fn color(said: Option<Color>, settings: Option<ColorChoice>, no_color: bool) -> Color {
    let by_settings = settings.map(|choice| match choice {
        ColorChoice::Auto => Color::Auto,
        ColorChoice::Always => Color::Always,
        ColorChoice::Never => Color::Never,
    });
    match said.or(by_settings).unwrap_or_default() {
        Color::Auto if no_color => Color::Never,
        chosen => chosen,
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// The memory that new processes could have, where the kernel says it.
fn free_memory_mib() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: usize = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib / 1024)
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let ends = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match ends {
        Some((first, last)) if first > 0 && first <= last => Ok(first..=last),
        _ => Err("give the first and the last port, such as 20000-20999".to_owned()),
    }
}

#[cfg(test)]
mod tests;
