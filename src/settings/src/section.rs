//! Section: one table of the file, from which keys are taken by name; what nobody takes is unknown.

use std::{cell::RefCell, ops::Range, path::Path};

use toml::de::{DeTable, DeValue};

use crate::problem::{SettingsProblem, SettingsText, nearest};

/// The file that sections are read from, and what was found wrong with it so far.
pub(crate) struct SettingsFile<'a> {
    pub(crate) text: &'a SettingsText,
    /// The file, for what has to say where it comes from.
    pub(crate) path: &'a Path,
    pub(crate) problems: RefCell<Vec<SettingsProblem>>,
}

impl SettingsFile<'_> {
    /// `path` as it is meant in this file: a relative one begins at the file's folder.
    pub(crate) fn resolve(&self, path: &str) -> std::path::PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        folder.join(path)
    }

    pub(crate) fn refuse(&self, problem: SettingsProblem) {
        self.problems.borrow_mut().push(problem);
    }
}

/// A table of a file, from which keys are taken by name. Whatever is wrong is gathered and told at the end, all of it at once.
pub struct Section<'a> {
    pub(crate) file: &'a SettingsFile<'a>,
    /// Its dotted path, such as `nodes.NODE_1`; empty for the whole file.
    name: String,
    /// Where it is named.
    span: Range<usize>,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(crate) fn root(file: &'a SettingsFile<'a>, table: &'a DeTable<'a>) -> Self {
        Self {
            file,
            name: String::new(),
            span: 0..0,
            table,
            known: Vec::new(),
        }
    }

    /// Its dotted path, such as `nodes.NODE_1`; empty for the whole file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of `key`, if it is there and `read` can make something of it; else the problem says what is `wanted`.
    pub(crate) fn value<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&DeValue<'_>) -> Option<T>,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.table.get(key)?;
        let read = read(value.get_ref());
        if read.is_none() {
            let message = format!("{} must be {wanted}", self.path_of(key));
            let label = format!("not {wanted}");
            let problem = SettingsProblem::new(message).at(self.file.text, value.span(), label);
            self.file.refuse(problem);
        }
        read
    }

    /// The text of `key` as something that says itself what is wrong with it.
    pub fn parsed<T, E: std::error::Error>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.value(key, "a text", |value| value.as_str().map(str::to_owned))?;
        self.kept(key, parse(&text))
    }

    /// What was made of the value of `key`, or the problem with it.
    pub fn kept<T, E: std::error::Error>(&self, key: &str, made: Result<T, E>) -> Option<T> {
        made.inspect_err(|error| {
            let message = format!("{} cannot be used: {error}", self.path_of(key));
            self.refuse_key(key, message, None);
        })
        .ok()
    }

    /// The table below `key`.
    pub fn section(&mut self, key: &'static str) -> Option<Self> {
        self.known.push(key);
        self.below(key)
    }

    /// The tables in this table, by whatever names people gave them.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Self)> + '_ {
        let keys = self.table.keys().map(|key| key.get_ref().as_ref());
        keys.filter_map(|key| Some((key, self.below(key)?)))
    }

    /// The values in this table, by whatever names people gave them.
    pub fn texts(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.table.iter().filter_map(|(key, value)| {
            let key = key.get_ref().as_ref();
            let text = value.get_ref().as_str();
            if text.is_none() {
                let message = format!("{} must be a text", self.path_of(key));
                self.refuse_key(key, message, None);
            }
            Some((key, text?))
        })
    }

    fn below(&self, key: &str) -> Option<Self> {
        let (named, value) = self.table.get_key_value(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            let message = format!("{} must be a table", self.path_of(key));
            self.refuse_key(key, message, None);
            return None;
        };
        Some(Self {
            file: self.file,
            name: self.path_of(key),
            span: named.span(),
            table,
            known: Vec::new(),
        })
    }

    /// Whether there is such a key.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The keys that there are.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.table.keys().map(|key| key.get_ref().as_ref())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&DeValue<'a>> {
        self.table.get(key).map(toml::Spanned::get_ref)
    }

    /// Notes that a key is known although nothing reads it.
    pub(crate) fn known(&mut self, key: &'static str) {
        self.known.push(key);
    }

    /// Says what is wrong with `key`.
    pub fn refuse_key(&self, key: &str, message: String, help: Option<String>) {
        let span = self
            .table
            .get_key_value(key)
            .map_or(self.span.clone(), |(_, value)| value.span());
        let problem = SettingsProblem::new(message)
            .at(self.file.text, span, "here")
            .helped(help);
        self.file.refuse(problem);
    }

    /// Says what this section lacks.
    pub fn refuse(&self, message: String, help: Option<String>) {
        let problem = SettingsProblem::new(message)
            .at(self.file.text, self.span.clone(), "here")
            .helped(help);
        self.file.refuse(problem);
    }

    /// Every key that was not asked for is unknown.
    pub fn finish(self) {
        for key in self.table.keys() {
            let text = key.get_ref().as_ref();
            if self.known.contains(&text) {
                continue;
            }
            let message = format!("unknown key {}", self.path_of(text));
            let help = match nearest(text, self.known.iter().copied()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("known keys here: {}", self.known.join(", ")),
            };
            let problem = SettingsProblem::new(message)
                .at(self.file.text, key.span(), "unknown")
                .helped(help);
            self.file.refuse(problem);
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }
}
