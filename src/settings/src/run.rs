//! Run: how features are run, as far as neither the command line nor a default decides it.

use std::{num::NonZeroUsize, ops::RangeInclusive, path::PathBuf, time::Duration};

use crate::{
    Environment, SettingsProblem,
    readers::{COLOR, COUNT, COUNT_OR_NONE, DURATION, FLAG, Kind, PORTS, TEXT},
    section::Section,
};

/// What `[run]` and the variables say; a variable wins over the file, and `None` was said nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunSettings {
    /// How many scenarios may run at one time.
    pub concurrency: Option<NonZeroUsize>,
    /// How many nodes may run at one time; also `TRELLIS_NODES`.
    pub nodes: Option<NonZeroUsize>,
    /// Whether the first failure ends the run.
    pub fail_fast: Option<bool>,
    /// How often a failed scenario is tried again.
    pub retry: Option<usize>,
    /// How long to wait before that.
    pub retry_after: Option<Duration>,
    /// The backend that nodes run on; also `TRELLIS_DEPLOYER`.
    pub deployer: Option<String>,
    /// The ports that local nodes may have.
    pub ports: Option<RangeInclusive<u16>>,
    /// The folder that runs leave their folders in; also `TRELLIS_OUT`.
    pub out: Option<PathBuf>,
    /// The folder in which runs write down what they own; also `TRELLIS_STATE`.
    pub state: Option<PathBuf>,
    /// Whether the logs and configurations of scenarios that passed are kept, too.
    pub keep: Option<bool>,
    /// Whether to use colors; `NO_COLOR` wins over the file.
    pub color: Option<ColorChoice>,
    /// Which of the harness's own log lines are written, as a tracing filter; also `TRELLIS_LOG`.
    pub log: Option<String>,
}

/// When to use colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorChoice {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl RunSettings {
    /// What the file says.
    pub(crate) fn of_file(mut section: Section<'_>) -> Self {
        let run = Self {
            concurrency: take(&mut section, "concurrency", &COUNT),
            nodes: take(&mut section, "nodes", &COUNT),
            fail_fast: take(&mut section, "fail_fast", &FLAG),
            retry: take(&mut section, "retry", &COUNT_OR_NONE),
            retry_after: take(&mut section, "retry_after", &DURATION),
            deployer: take(&mut section, "deployer", &TEXT),
            ports: take(&mut section, "ports", &PORTS),
            out: folder(&mut section, "out"),
            state: folder(&mut section, "state"),
            keep: take(&mut section, "keep", &FLAG),
            color: take(&mut section, "color", &COLOR),
            log: take(&mut section, "log", &TEXT),
        };
        section.finish();
        run
    }

    /// Lets the variables win.
    pub(crate) fn overridden_by(
        self,
        environment: &Environment,
        problems: &mut Vec<SettingsProblem>,
    ) -> Self {
        let mut variable = Variables {
            environment,
            problems,
        };
        Self {
            nodes: variable.read("TRELLIS_NODES", &COUNT).or(self.nodes),
            deployer: variable.read("TRELLIS_DEPLOYER", &TEXT).or(self.deployer),
            out: variable.folder("TRELLIS_OUT").or(self.out),
            state: variable.folder("TRELLIS_STATE").or(self.state),
            color: variable.no_color().or(self.color),
            log: variable.read("TRELLIS_LOG", &TEXT).or(self.log),
            ..self
        }
    }
}

fn take<T>(section: &mut Section<'_>, key: &'static str, kind: &Kind<T>) -> Option<T> {
    section.value(key, kind.wanted, kind.of_value)
}

fn folder(section: &mut Section<'_>, key: &'static str) -> Option<PathBuf> {
    let path = take(section, key, &TEXT)?;
    Some(section.file.resolve(&path))
}

struct Variables<'a> {
    environment: &'a Environment,
    problems: &'a mut Vec<SettingsProblem>,
}

impl Variables<'_> {
    fn read<T>(&mut self, name: &str, kind: &Kind<T>) -> Option<T> {
        let value = self.environment.get(name)?;
        let read = value.to_str().and_then(kind.of_text);
        if read.is_none() {
            self.problems
                .push(SettingsProblem::of_variable(name, kind.wanted));
        }
        read
    }

    /// A path may be any bytes; a relative one begins at the current folder, as on the command line.
    fn folder(&self, name: &str) -> Option<PathBuf> {
        self.environment.get(name).map(PathBuf::from)
    }

    fn no_color(&self) -> Option<ColorChoice> {
        self.environment.get("NO_COLOR").map(|_| ColorChoice::Never)
    }
}

/// Where runs write down what they own, unless it is said: `trellis` in the user's state folder, or in the temporary folder where there is none.
pub fn default_state_folder(environment: &Environment) -> PathBuf {
    let named = |name| {
        environment
            .get(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let folder = named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(".local/state")));
    folder.unwrap_or_else(std::env::temp_dir).join("trellis")
}
