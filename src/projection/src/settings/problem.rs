//! Problems: what is wrong with the settings. No value is shown, since it may be a secret that went astray.

use std::{error::Error, fmt, path::Path};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    subject: String,
    what: String,
}

impl SettingsProblem {
    pub(crate) fn of_field(key: &str, what: impl Into<String>) -> Self {
        Self {
            subject: key.to_owned(),
            what: what.into(),
        }
    }

    pub(crate) fn of_file(file: &Path, what: impl Into<String>) -> Self {
        Self {
            subject: file.display().to_string(),
            what: what.into(),
        }
    }

    /// The field, variable or file.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.subject, self.what)
    }
}

/// Everything that is wrong with the settings; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<SettingsProblem>,
}

impl SettingsError {
    pub(crate) fn new(problems: Vec<SettingsProblem>) -> Self {
        Self { problems }
    }

    /// What is wrong.
    pub fn problems(&self) -> &[SettingsProblem] {
        &self.problems
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.problems.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl Error for SettingsError {}
