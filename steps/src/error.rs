//! Step errors: what QA reads when a step fails.
//!
//! Cucumber shows a step's error by its `Display` alone, so this is the one place that prints the chain of causes.

use std::{error::Error, fmt};

/// What a step returns.
pub type StepResult<T = ()> = Result<T, StepError>;

/// Why a step failed, with its causes. Made from any error by `?`.
#[derive(Clone)]
pub struct StepError {
    text: String,
}

impl StepError {
    /// An error in words of its own.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// The error of a step that the end of the run interrupted.
    pub(crate) fn interrupted() -> Self {
        Self::new("interrupted: the run is being stopped")
    }

    /// This error with `context` in front.
    #[must_use]
    pub fn within(self, context: impl fmt::Display) -> Self {
        Self {
            text: format!("{context}: {}", self.text),
        }
    }
}

impl<E: Error> From<E> for StepError {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let line = error.to_string();
            // A transparent wrapper says what its cause says.
            if !text.ends_with(&line) {
                text.push_str("\n  because: ");
                text.push_str(&line);
            }
            cause = error.source();
        }
        Self { text }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not start A")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("no such file")]
    struct Inner;

    #[test]
    fn every_cause_is_printed_once() {
        assert_eq!(
            StepError::from(Outer(Inner)).to_string(),
            "could not start A\n  because: no such file"
        );
    }
}
