//! Choices: how values are read that mean something for one field only.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;

use super::{
    Durability, Engine, LogFormat, SourceKind, Tokens,
    values::{count, duration, text},
};
use crate::{rebuild::Cutover, shards::ShardLayout};

pub(super) fn shards(value: &Value) -> Result<u32, String> {
    let shards = count(value)
        .ok()
        .and_then(|shards| u32::try_from(shards).ok());
    shards
        .filter(|shards| *shards <= ShardLayout::COUNT_MAX)
        .ok_or_else(|| {
            format!(
                "must be a whole number from 1 to {}",
                ShardLayout::COUNT_MAX
            )
        })
}

/// A text that a key of the bucket and its name can hold.
pub(super) fn name(value: &Value) -> Result<String, String> {
    let allowed = |sign: char| sign.is_ascii_alphanumeric() || sign == '-' || sign == '_';
    text(value)
        .ok()
        .filter(|text| text.chars().all(allowed))
        .ok_or_else(|| "must be of letters, digits, - and _".to_owned())
}

pub(super) fn lease_ttl(value: &Value) -> Result<Duration, String> {
    /// Below it, a slow disk or server is taken for a dead node.
    const TTL_MIN: Duration = Duration::from_secs(1);
    let ttl = duration(value).ok().filter(|ttl| *ttl >= TTL_MIN);
    ttl.ok_or_else(|| "must be a time of at least 1s".to_owned())
}

pub(super) fn tenant(value: &Value) -> Result<String, String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| "must be a text".to_owned())
}

/// An object of tokens, or one text of `token=tenant` with commas.
pub(super) fn tokens(value: &Value) -> Result<Tokens, String> {
    let pair = |token: &str, tenant: &str| {
        let plain = !token.is_empty() && !token.contains(char::is_whitespace);
        plain.then(|| (token.to_owned(), tenant.into()))
    };
    let pairs: Option<Tokens> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(token, tenant)| pair(token, tenant.as_str()?))
            .collect(),
        Value::String(text) => text
            .split(',')
            .map(|piece| {
                let (token, tenant) = piece.trim().split_once('=')?;
                pair(token, tenant)
            })
            .collect(),
        _ => None,
    };
    pairs.ok_or_else(|| {
        "must name tenants by tokens without spaces, as an object or as token=tenant,..".to_owned()
    })
}

pub(super) fn source(value: &Value) -> Result<SourceKind, String> {
    match value.as_str() {
        Some("ordered") => Ok(SourceKind::Ordered),
        Some("durable") => Ok(SourceKind::Durable),
        _ => Err("must be ordered or durable".to_owned()),
    }
}

pub(super) fn engine(value: &Value) -> Result<Engine, String> {
    match value.as_str() {
        Some("mdbx") => Ok(Engine::Mdbx),
        Some("redb") => Ok(Engine::Redb),
        _ => Err("must be mdbx or redb".to_owned()),
    }
}

pub(super) fn durability(value: &Value) -> Result<Durability, String> {
    /// More than this may be folded again after a crash, which nobody who writes it means.
    const INTERVAL_MAX: Duration = Duration::from_mins(1);
    if value.as_str() == Some("commit") {
        return Ok(Durability::Commit);
    }
    let interval = duration(value)
        .ok()
        .filter(|interval| *interval <= INTERVAL_MAX);
    let interval = interval.map(Durability::Interval);
    interval.ok_or_else(|| "must be commit, or an interval of at most 1m such as 100ms".to_owned())
}

pub(super) fn cutover(value: &Value) -> Result<Cutover, String> {
    match value.as_str() {
        Some("automatic") => Ok(Cutover::Automatic),
        Some("command") => Ok(Cutover::Command),
        _ => Err("must be automatic or command".to_owned()),
    }
}

pub(super) fn percent(value: &Value) -> Result<u32, String> {
    let percent = count(value).ok().filter(|percent| *percent <= 100);
    let percent = percent.and_then(|percent| percent.try_into().ok());
    percent.ok_or_else(|| "must be a whole number from 1 to 100".to_owned())
}

pub(super) fn listen(value: &Value) -> Result<Option<SocketAddr>, String> {
    let address = |value: &Value| {
        let address = value.as_str().and_then(|text| text.parse().ok());
        address.ok_or_else(|| "must be an address and a port such as 127.0.0.1:8090".to_owned())
    };
    unless_none(value, address)
}

pub(super) fn unless_none<T>(
    value: &Value,
    read: impl Fn(&Value) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if value.as_str() == Some("none") {
        return Ok(None);
    }
    read(value)
        .map(Some)
        .map_err(|wanted| format!("{wanted}, or none"))
}

pub(super) fn log_format(value: &Value) -> Result<LogFormat, String> {
    match value.as_str() {
        Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        _ => Err("must be text or json".to_owned()),
    }
}

pub(super) fn lanes(value: &Value) -> Result<usize, String> {
    let lanes = count(value).ok().filter(|lanes| *lanes <= 64);
    lanes.ok_or_else(|| "must be a whole number from 1 to 64".to_owned())
}
