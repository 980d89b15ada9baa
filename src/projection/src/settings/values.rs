//! Values: how the value of a field is read, from a file or as the text of a variable.
//!
//! Each reader's error is what the value must be, as the end of "the field ...".

use std::time::Duration;

use serde_json::Value;

pub(super) fn text(value: &Value) -> Result<String, String> {
    match value.as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err("must be a text that is not empty".to_owned()),
    }
}

/// A list, or one text with commas.
pub(super) fn texts(value: &Value) -> Result<Vec<String>, String> {
    let wanted = || "must be a list of texts".to_owned();
    match value {
        Value::String(text) => {
            let pieces = text
                .split(',')
                .map(str::trim)
                .filter(|piece| !piece.is_empty());
            Ok(pieces.map(str::to_owned).collect())
        }
        Value::Array(items) => items
            .iter()
            .map(text)
            .collect::<Result<_, _>>()
            .map_err(|_| wanted()),
        _ => Err(wanted()),
    }
}

pub(super) fn flag(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

pub(super) fn number(value: &Value) -> Result<u64, String> {
    whole(value).ok_or_else(|| "must be a whole number".to_owned())
}

pub(super) fn position(value: &Value) -> Result<usize, String> {
    let position = number(value)?;
    usize::try_from(position).map_err(|_| "must be a smaller number".to_owned())
}

pub(super) fn count(value: &Value) -> Result<usize, String> {
    let count = whole(value)
        .filter(|count| *count > 0)
        .and_then(|count| count.try_into().ok());
    count.ok_or_else(|| "must be a whole number above 0".to_owned())
}

/// A number of bytes, or one with a unit such as `64MiB`.
pub(super) fn bytes(value: &Value) -> Result<usize, String> {
    const UNITS: [(&str, u64); 4] = [
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("B", 1),
    ];
    let with_unit = |text: &str| {
        let (unit, size) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
        let number = text.strip_suffix(unit)?.trim().parse::<u64>().ok()?;
        number.checked_mul(*size)
    };
    let bytes = whole(value).or_else(|| with_unit(value.as_str()?));
    let bytes = bytes
        .filter(|bytes| *bytes > 0)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "must be a number of bytes, such as 64MiB".to_owned())
}

pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    let duration = value
        .as_str()
        .and_then(|text| humantime::parse_duration(text).ok());
    let duration = duration.filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "must be a time, such as 50ms".to_owned())
}
