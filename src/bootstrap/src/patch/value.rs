//! Values of overrides: YAML, or one of a few words for what YAML cannot say well.
//!
//! | value | becomes |
//! | --- | --- |
//! | `seconds(1.5)` | a length of time in the form of the value that it replaces: `{secs, nanos}`, or a number of milliseconds where the key ends with `_ms`, else of seconds |
//! | `now_plus_seconds(60)` | a moment: a number of milliseconds since 1970 where the key ends with `_ms`, else of seconds |
//! | `hex(00ff)` | bytes: a list of numbers where it replaces a list, else the text `00ff` |

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// What `text` says, in the form that fits `old`, the value at a path that ends with `key`.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read(text: &str, key: &str, old: &Value) -> Result<Value, String> {
    let in_milliseconds = key.ends_with("_ms");
    if let Some(inner) = argument(text, "seconds") {
        let length = seconds(inner)?;
        return Ok(match old {
            Value::Object(fields) if fields.contains_key("secs") => {
                json!({"secs": length.as_secs(), "nanos": length.subsec_nanos()})
            }
            _ if in_milliseconds => json!(milliseconds(length)?),
            _ if length.subsec_nanos() == 0 => json!(length.as_secs()),
            _ => json!(length.as_secs_f64()),
        });
    }
    if let Some(inner) = argument(text, "now_plus_seconds") {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let moment = now.map_err(|error| error.to_string())? + seconds(inner)?;
        return Ok(if in_milliseconds {
            json!(milliseconds(moment)?)
        } else {
            json!(moment.as_secs())
        });
    }
    if let Some(inner) = argument(text, "hex") {
        let bytes = bytes(inner)?;
        return Ok(match old {
            Value::Array(_) => json!(bytes),
            _ => json!(inner),
        });
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

fn argument<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let inner = text.trim().strip_prefix(word)?.trim_start();
    inner.strip_prefix('(')?.strip_suffix(')').map(str::trim)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| format!("{text:?} is no number of seconds"))?;
    Duration::try_from_secs_f64(number)
        .map_err(|error| format!("{text:?} is no number of seconds: {error}"))
}

fn milliseconds(length: Duration) -> Result<u64, String> {
    u64::try_from(length.as_millis()).map_err(|_| "it is too long".to_owned())
}

fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("{text:?} is not hexadecimal: pairs of the digits 0-9 and a-f");
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let pairs = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    let digit = |c: char| c.is_ascii_hexdigit();
    pairs
        .map(|pair| {
            let digits = pair.chars().all(digit).then_some(pair);
            let byte = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok());
            byte.ok_or_else(wrong)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_takes_the_form_of_what_it_replaces() {
        let read = |key: &str, old: Value| read("seconds(1.5)", key, &old).unwrap();
        assert_eq!(
            read("period", json!({"secs": 1, "nanos": 0})),
            json!({"secs": 1, "nanos": 500_000_000})
        );
        assert_eq!(read("period_ms", json!(0)), json!(1500));
        assert_eq!(read("period", json!(0)), json!(1.5));
        assert_eq!(
            super::read("seconds(2)", "period", &json!(0)).unwrap(),
            json!(2)
        );
    }

    #[test]
    fn a_moment_is_counted_as_its_key_says() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let seconds = read("now_plus_seconds(60)", "begin", &json!(0)).unwrap();
        let seconds = seconds.as_u64().unwrap();
        assert!((now + 60..now + 90).contains(&seconds));
        let millis = read("now_plus_seconds(60)", "begin_ms", &json!(0)).unwrap();
        assert!(millis.as_u64().unwrap() / 1000 >= now + 60);
    }

    #[test]
    fn bytes_are_a_list_or_a_text() {
        assert_eq!(
            read("hex(00ff)", "key", &json!([1])).unwrap(),
            json!([0, 255])
        );
        assert_eq!(read("hex(00ff)", "key", &json!("")).unwrap(), json!("00ff"));
        for wrong in ["hex(0)", "hex(0g)", "hex(+1)", "seconds(-1)", "seconds(x)"] {
            read(wrong, "key", &json!("")).unwrap_err();
        }
    }

    #[test]
    fn anything_else_is_yaml() {
        assert_eq!(
            read("[1, two]", "key", &json!(0)).unwrap(),
            json!([1, "two"])
        );
    }
}
