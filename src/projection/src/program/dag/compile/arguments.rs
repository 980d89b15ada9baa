//! Arguments: the forms that those of operations have. Nothing here compiles a step.

use serde_json::Value;

use super::{CompileError, Typed};
use crate::program::dag::{
    decimal::SCALE_MAX,
    node::{Node, Type},
};

pub(super) fn wrong(place: &str, what: impl Into<String>) -> CompileError {
    CompileError {
        place: place.to_owned(),
        what: what.into(),
    }
}

pub(super) fn literal(value: &Value, place: &str) -> Result<Typed, CompileError> {
    if has_fractions(value) {
        return Err(wrong(
            place,
            "numbers are whole: fractions round differently here and there; write decimals as texts",
        ));
    }
    Ok((Node::Const(value.clone()), Type::of(value)))
}

fn has_fractions(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_fractions),
        Value::Object(members) => members.values().any(has_fractions),
        value => value.is_f64(),
    }
}

pub(super) fn list<'v>(
    argument: &'v Value,
    place: &str,
    least: usize,
) -> Result<&'v [Value], CompileError> {
    let items = argument.as_array().filter(|items| items.len() >= least);
    let items = items.ok_or_else(|| wrong(place, format!("must be a list of at least {least}")))?;
    Ok(items)
}

pub(super) fn fixed<'v, const N: usize>(
    argument: &'v Value,
    place: &str,
) -> Result<[&'v Value; N], CompileError> {
    let items: Vec<&Value> = list(argument, place, N)?.iter().collect();
    items
        .try_into()
        .map_err(|_| wrong(place, format!("must be a list of {N}")))
}

/// The members `names` of an object that has these and no others.
pub(super) fn named_parts<'v, const N: usize>(
    argument: &'v Value,
    place: &str,
    names: [&str; N],
) -> Result<[&'v Value; N], CompileError> {
    let members = argument.as_object().filter(|members| members.len() == N);
    let parts: Option<Vec<&Value>> =
        members.and_then(|members| names.iter().map(|name| members.get(*name)).collect());
    parts
        .and_then(|parts| parts.try_into().ok())
        .ok_or_else(|| wrong(place, format!("must be an object of {}", names.join(", "))))
}

pub(super) fn text<'v>(argument: &'v Value, place: &str) -> Result<&'v str, CompileError> {
    argument
        .as_str()
        .ok_or_else(|| wrong(place, "must be a name"))
}

pub(super) fn path(argument: &Value, place: &str) -> Result<Vec<String>, CompileError> {
    let text = argument
        .as_str()
        .ok_or_else(|| wrong(place, "must be a path such as a.b"))?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let pieces: Vec<String> = text.split('.').map(str::to_owned).collect();
    if pieces.iter().any(String::is_empty) {
        return Err(wrong(place, "must be a path such as a.b"));
    }
    Ok(pieces)
}

/// The first name of a path, and the rest of it.
pub(super) fn longer_path(
    argument: &Value,
    place: &str,
) -> Result<(String, Vec<String>), CompileError> {
    let mut path = path(argument, place)?;
    if path.is_empty() {
        return Err(wrong(place, "must be a path such as a.b"));
    }
    let rest = path.split_off(1);
    let first = path.pop().expect("one was left");
    Ok((first, rest))
}

/// The name that a loop gives to what it looks at: one that a path can begin with.
pub(super) fn local_name(argument: &Value, place: &str) -> Result<String, CompileError> {
    let (name, rest) = longer_path(argument, place)?;
    if rest.is_empty() {
        return Ok(name);
    }
    Err(wrong(place, "a name has no points"))
}

/// How long a list may become.
pub(super) fn cap(argument: &Value, place: &str) -> Result<usize, CompileError> {
    let cap = argument.as_u64().and_then(|cap| usize::try_from(cap).ok());
    cap.filter(|cap| *cap > 0)
        .ok_or_else(|| wrong(place, "cap must be a number above 0"))
}

/// How many digits a decimal has behind its point.
pub(super) fn scale(argument: &Value, place: &str) -> Result<u32, CompileError> {
    let scale = argument
        .as_u64()
        .and_then(|scale| u32::try_from(scale).ok());
    scale
        .filter(|scale| *scale <= SCALE_MAX)
        .ok_or_else(|| wrong(place, format!("scale must be a number up to {SCALE_MAX}")))
}
