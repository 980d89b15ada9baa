//! Documents: TOML files that people write, read so that everything wrong with one is found at one go and shown where it stands.
//!
//! `trellis.toml` is one; others, such as the file of a cluster that is started by hand, are read in the same way.

use std::{cell::RefCell, num::NonZeroUsize, path::Path, time::Duration};

use toml::de::{DeTable, DeValue};

use crate::{
    SettingsError, SettingsProblem,
    masking::masked,
    problem::SettingsText,
    readers::{COUNT, DURATION, Kind, TEXT},
    section::{Section, SettingsFile},
};

/// Reads the TOML document `text`, which is that of the file at `path`. What `make` makes of it counts only when nothing was wrong.
///
/// # Errors
/// Everything that is wrong with it, in its order.
pub fn read_document<T>(
    path: &Path,
    text: &str,
    make: impl FnOnce(Section<'_>) -> T,
) -> Result<T, SettingsError> {
    let (made, problems) = read(path, text, make);
    match made {
        Some(made) if problems.is_empty() => Ok(made),
        _ => Err(SettingsError::new(problems)),
    }
}

/// Reads the TOML document `text`; nothing is made of what is not TOML.
pub(crate) fn read<T>(
    path: &Path,
    text: &str,
    make: impl FnOnce(Section<'_>) -> T,
) -> (Option<T>, Vec<SettingsProblem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let table = table.get_ref();
    let shown = SettingsText::new(path, masked(text, table, errors.is_empty()));
    if !errors.is_empty() {
        // What was read around a mistake may be anything; more problems would be noise.
        let problems = errors.iter().map(|error| syntax_problem(&shown, error));
        return (None, problems.collect());
    }
    let file = SettingsFile {
        text: &shown,
        path,
        problems: RefCell::default(),
    };
    let made = make(Section::root(&file, table));
    let mut problems = file.problems.into_inner();
    problems.sort_by_key(SettingsProblem::order);
    (Some(made), problems)
}

fn syntax_problem(text: &SettingsText, error: &toml::de::Error) -> SettingsProblem {
    let message = format!("not TOML: {}", error.message());
    let span = error.span().unwrap_or_default();
    SettingsProblem::new(message).at(text, span, "here")
}

/// Values of usual kinds.
impl Section<'_> {
    /// A text that is not empty.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.of_kind(key, &TEXT)
    }

    /// A whole number, 1 or more.
    pub fn count(&mut self, key: &'static str) -> Option<NonZeroUsize> {
        self.of_kind(key, &COUNT)
    }

    /// A duration such as `"3s"`.
    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.of_kind(key, &DURATION)
    }

    /// A list of texts.
    pub fn text_list(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.value(key, "a list of texts", |value| {
            let values = value.as_array()?.iter();
            let texts = values.map(|value| value.get_ref().as_str().map(str::to_owned));
            texts.collect()
        })
    }

    /// Whether `key` is a table, for keys that may be something else.
    pub fn has_table(&self, key: &str) -> bool {
        self.get(key).is_some_and(DeValue::is_table)
    }

    /// The value of `key` as text, whether it is a text, a number, true or false.
    pub fn scalar(&self, key: &str) -> Option<String> {
        let scalar = self.get(key).and_then(scalar);
        if scalar.is_none() {
            let message = format!("{} must be a text, a number, true or false", self.name());
            self.refuse_key(key, message, None);
        }
        scalar
    }

    fn of_kind<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Option<T> {
        self.value(key, kind.wanted, kind.of_value)
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.as_ref().to_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(is_so) => Some(is_so.to_string()),
        _ => None,
    }
}
