//! Problems: what is wrong with a feature, shown with its source, its line, and a mark under the words.

use std::{collections::HashSet, fmt, path::Path, sync::Arc};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};
use thiserror::Error;
use trellis_settings::drawn;

/// Something in a feature that keeps it from being run.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub struct Problem {
    message: String,
    label: String,
    help: Option<String>,
    line: usize,
    span: SourceSpan,
    text: FeatureText,
}

/// A feature file's text under the name that it is shown by. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct FeatureText(Arc<NamedSource<Arc<str>>>);

impl FeatureText {
    /// Takes the text of the feature that is shown as `name`.
    pub(crate) fn new(name: &Path, text: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(NamedSource::new(
            name.to_string_lossy(),
            text.into(),
        )))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.inner()
    }

    /// Where line number `line` begins and how long it is, without the blanks around it.
    fn span_of(&self, line: usize) -> SourceSpan {
        let text = self.as_str();
        let mut begin = 0;
        for (number, raw) in text.split_inclusive('\n').enumerate() {
            if number + 1 == line {
                let indent = raw.len() - raw.trim_start().len();
                return (begin + indent, raw.trim().len()).into();
            }
            begin += raw.len();
        }
        (text.trim_end().len(), 0).into()
    }
}

impl Problem {
    /// A problem of line `line` of a feature.
    pub(crate) fn new(text: &FeatureText, line: usize, message: impl Into<String>) -> Self {
        let span = text.span_of(line);
        let text = text.clone();
        Self {
            message: message.into(),
            label: "here".into(),
            help: None,
            line,
            span,
            text,
        }
    }

    /// This problem with `label` below the marked words.
    #[must_use]
    pub(crate) fn labelled(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// This problem with advice.
    #[must_use]
    pub(crate) fn helped(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    /// The feature file, as it is shown.
    pub fn file(&self) -> &str {
        self.text.0.name()
    }

    /// The line in it, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Draws it for a terminal, or in plain characters.
    pub fn render(&self, colored: bool) -> String {
        drawn(self, colored)
            .unwrap_or_else(|| format!("{}:{}: {}\n", self.file(), self.line, self.message))
    }
}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&*self.text.0)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_with_span(Some(self.label.clone()), self.span);
        Some(Box::new(std::iter::once(label)))
    }
}

/// Problems in the order in which they were found, each once: the rows of an outline repeat those of its steps.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    seen: HashSet<(String, usize, String)>,
    list: Vec<Problem>,
}

impl Problems {
    pub(crate) fn add(&mut self, problem: Problem) {
        let key = (
            problem.file().to_owned(),
            problem.line,
            problem.message.clone(),
        );
        if self.seen.insert(key) {
            self.list.push(problem);
        }
    }

    /// All of them, by file and line.
    pub(crate) fn into_sorted(mut self) -> Vec<Problem> {
        self.list
            .sort_by(|a, b| (a.file(), a.line).cmp(&(b.file(), b.line)));
        self.list
    }
}
