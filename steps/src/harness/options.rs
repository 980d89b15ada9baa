//! Options: what can be said on the command line and in the environment.
//!
//! This is the one place that reads either; below it everything is given.

use std::{
    num::NonZeroUsize,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use gherkin::tagexpr::TagOperation;
use regex::Regex;

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
    /// Only scenarios whose tags fit, such as '@smoke and not @slow'.
    #[arg(
        short,
        long,
        value_name = "EXPRESSION",
        env = "CUCUMBER_FILTER_TAGS",
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
    /// How many nodes may run at one time [default: by cores and memory]
    #[arg(
        long,
        value_name = "N",
        env = "TRELLIS_NODES",
        help_heading = "How to run them"
    )]
    nodes: Option<NonZeroUsize>,
    /// Stops at the first failure; what runs then is finished.
    #[arg(long, visible_alias = "ff", help_heading = "How to run them")]
    pub(crate) fail_fast: bool,
    /// How often a failed scenario is tried again. One that passes then is reported as flaky.
    #[arg(long, value_name = "N", help_heading = "How to run them")]
    pub(crate) retry: Option<usize>,
    /// How long to wait before that.
    #[arg(long, requires = "retry", value_name = "DURATION", value_parser = humantime::parse_duration, help_heading = "How to run them")]
    pub(crate) retry_after: Option<Duration>,
    /// Which scenarios may be tried again.
    #[arg(
        long,
        requires = "retry",
        value_name = "EXPRESSION",
        help_heading = "How to run them"
    )]
    pub(crate) retry_tag_filter: Option<TagOperation>,

    /// The backend that nodes run on [default: the first that is known, mostly local]
    #[arg(
        long,
        value_name = "NAME",
        env = "TRELLIS_DEPLOYER",
        help_heading = "On what"
    )]
    pub(crate) deployer: Option<String>,
    /// The ports that local nodes may have, such as 20000-20999 [default: any free one]
    #[arg(long, value_name = "FIRST-LAST", value_parser = port_range, help_heading = "On what")]
    pub ports: Option<RangeInclusive<u16>>,

    /// The folder that runs leave their folders in.
    #[arg(
        long,
        value_name = "DIR",
        env = "TRELLIS_OUT",
        help_heading = "What is left"
    )]
    pub(crate) out: Option<PathBuf>,
    /// The folder in which runs write down what they own, for `trellis clean`.
    #[arg(
        long,
        value_name = "DIR",
        env = "TRELLIS_STATE",
        help_heading = "What is left"
    )]
    state: Option<PathBuf>,
    /// Keeps the logs and configurations of scenarios that passed, too.
    #[arg(long, help_heading = "What is left")]
    pub keep: bool,
    /// Whether to use colors.
    #[arg(long, value_enum, default_value_t = Color::Auto, value_name = "WHEN", help_heading = "What is shown")]
    pub(crate) color: Color,
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

/// When to use colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
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
        let said = self.concurrency.or(self.libtest.test_threads);
        said.map_or_else(
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
    pub(crate) fn state(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(default_state_folder)
    }
}

/// Where runs write down what they own, unless it is said: `trellis` in the user's state folder, or in the temporary folder where there is none.
pub fn default_state_folder() -> PathBuf {
    let named = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let folder = named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(".local/state")));
    folder.unwrap_or_else(std::env::temp_dir).join("trellis")
}

/// Whether the user wants no colors anywhere.
pub(crate) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// What of the harness's own log is wanted.
pub(crate) fn log_filter() -> String {
    std::env::var("TRELLIS_LOG").unwrap_or_else(|_| "info".to_owned())
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
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<HarnessOptions, clap::Error> {
        HarnessOptions::try_parse_from(["cucumber"].iter().chain(arguments))
    }

    #[test]
    fn the_options_are_consistent() {
        HarnessOptions::command().debug_assert();
    }

    #[test]
    fn what_cargo_test_says_is_understood() {
        let options = parse(&[
            "leader",
            "--nocapture",
            "--show-output",
            "--test-threads",
            "3",
            "--exact",
            "-q",
            "--include-ignored",
            "--format",
            "terse",
            "--skip",
            "slow",
        ])
        .unwrap();
        assert_eq!(options.concurrency(), 3);
        let selection = options.selection(Path::new("/nonexistent/features"));
        assert_eq!(
            (selection.filters, selection.skips),
            (vec!["leader".into()], vec!["slow".into()])
        );
        assert!(options.is_terse() && selection.exact && !options.wants_nothing());
        assert!(parse(&["--ignored"]).unwrap().wants_nothing());
    }

    #[test]
    fn what_cucumber_users_say_is_understood() {
        let options = parse(&[
            "-t",
            "@smoke and not @slow",
            "-n",
            "^A",
            "-i",
            "x.feature",
            "-c",
            "2",
            "--retry",
            "1",
            "--retry-after",
            "3s",
            "--retry-tag-filter",
            "@flaky",
            "--fail-fast",
            "-vv",
            "--color",
            "never",
        ])
        .unwrap();
        assert_eq!(options.retry_after, Some(Duration::from_secs(3)));
        assert!(options.fail_fast && options.verbose == 2 && options.color == Color::Never);
        assert!(parse(&["--tags", "@a and ("]).is_err());
    }

    #[test]
    fn a_path_is_an_input_and_anything_else_a_filter() {
        let root = Path::new("/nonexistent/features");
        for input in ["a.feature", "a/b.feature:12", "features/**/*.feature", "/"] {
            assert!(Selection::is_input(input, root), "{input}");
        }
        for filter in ["leader", "a.feature:12: The leader dies", "fail over"] {
            assert!(!Selection::is_input(filter, root), "{filter}");
        }
    }

    #[test]
    fn ports_are_a_range() {
        assert_eq!(port_range("20000-20999"), Ok(20000..=20999));
        for bad in ["20000", "2-1", "0-5", "a-b", "1-70000"] {
            assert!(port_range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_budget_always_has_room_for_a_large_scenario() {
        assert!(parse(&[]).unwrap().budget() >= NODES_MIN);
        assert_eq!(parse(&["--nodes", "3"]).unwrap().budget(), 3);
    }
}
