//! Shape: JSON read into a type, or where it is of another shape.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::error::SourceErrorKind;

/// What of an answer is shown when it is of no known shape.
const SNIPPET_CHARS: usize = 120;

/// What `json` says, or where it does not say it, and what is there instead.
pub fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, SourceErrorKind> {
    // Knowing the place costs time, and most answers are right.
    serde_json::from_slice(json).or_else(|_| decode_with_place(json))
}

fn decode_with_place<T: DeserializeOwned>(json: &[u8]) -> Result<T, SourceErrorKind> {
    let text = || String::from_utf8_lossy(json).into_owned();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let failed = match serde_path_to_error::deserialize(&mut deserializer) {
        // A second value behind the first is no answer to one question.
        Ok(value) => match deserializer.end() {
            Ok(()) => return Ok(value),
            Err(_) => return Err(wrong_shape("$", &text(), "one JSON value")),
        },
        Err(failed) => failed,
    };
    let path = match failed.path().to_string() {
        root if root == "." => "$".to_owned(),
        path => path,
    };
    let found = at(json, failed.path()).unwrap_or_else(text);
    let expected = expectation(&failed.inner().to_string());
    Err(wrong_shape(path, &found, expected))
}

/// What is at `path`, as far as it can be followed.
fn at(json: &[u8], path: &Path) -> Option<String> {
    let root: Value = serde_json::from_slice(json).ok()?;
    let mut found = &root;
    for segment in path {
        let next = match segment {
            Segment::Seq { index } => found.get(index),
            Segment::Map { key } => found.get(key),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        match next {
            Some(next) => found = next,
            None => break,
        }
    }
    Some(found.to_string())
}

/// What serde wanted, without the place in a text that nobody sees.
fn expectation(error: &str) -> String {
    let error = error.split(" at line ").next().unwrap_or(error);
    match (
        error.rsplit_once(", expected "),
        error.strip_prefix("missing "),
    ) {
        (Some((_, expected)), _) => expected.to_owned(),
        (None, Some(missing)) => missing.to_owned(),
        (None, None) => format!("something else ({error})"),
    }
}

/// That `found`, at `path` of an answer, is not what is `expected` there.
pub fn wrong_shape(
    path: impl Into<String>,
    found: &str,
    expected: impl Into<String>,
) -> SourceErrorKind {
    SourceErrorKind::WrongShape {
        path: path.into(),
        snippet: snippet(found),
        expected: expected.into(),
    }
}

/// The beginning of a text that may be long.
pub fn snippet(text: &str) -> String {
    match text.char_indices().nth(SNIPPET_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[serde(rename = "list")]
        _list: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[serde(rename = "value")]
        _value: u64,
    }

    fn error_of(json: &str) -> String {
        decode::<Outer>(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_error_says_where_what_is_there_and_what_belongs_there() {
        let padding = "x".repeat(500);
        let wrong = format!(r#"{{"pad":"{padding}","list":[{{"value":1}},{{"value":1.5}}]}}"#);

        assert_eq!(
            error_of(&wrong),
            "an answer of another shape at list[1].value: expected u64, found 1.5"
        );
        assert_eq!(
            error_of(r#"{"list":[{"val":1}]}"#),
            r#"an answer of another shape at list[0]: expected field `value`, found {"val":1}"#
        );
    }

    #[test]
    fn what_is_no_json_and_what_is_more_than_one_value_is_of_another_shape() {
        let html = format!("<html>{}", "y".repeat(500));
        let error = error_of(&html);
        assert!(error.starts_with("an answer of another shape at $: expected"));
        assert!(error.ends_with("yyy..."));
        assert!(error_of(r#"{"list":[]}{}"#).contains("expected one JSON value"));
    }
}
