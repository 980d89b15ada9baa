//! Info: where a node is, in each of the three forms in which nodes say it.

use serde::Deserialize;
use serde_json::Value;

use super::wire::id;
use crate::{
    error::SourceErrorKind,
    http::{decode, wrong_shape},
    id::BlockId,
    model::{Finalised, Head, Mode},
};

/// Which form of the wire a node speaks, as its `/cryptarchia/info` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Generation {
    /// Up to 0.1: all in one flat object.
    Flat,
    /// 0.2.0: `cryptarchia_info`, and `mode` beside it.
    Mode,
    /// 0.2.1 and newer: `cryptarchia_info` with `state` in it, and `phase` beside it.
    State,
}

/// What `/cryptarchia/info` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogosInfo {
    /// In which form it was said.
    pub generation: Generation,
    /// The last immutable block.
    pub lib: BlockId,
    /// Its slot, where it is told.
    pub lib_slot: Option<u64>,
    /// The last block of the chain.
    pub tip: BlockId,
    /// The slot of the tip, not of the clock.
    pub slot: u64,
    /// The height of the tip.
    pub height: u64,
    /// What the node does.
    pub mode: Mode,
    /// How far a node that starts has come, where it is told: `InitialBlockDownload`.
    pub phase: Option<String>,
}

impl LogosInfo {
    /// Reads any of the three forms.
    pub(super) fn of(body: &[u8]) -> Result<Self, SourceErrorKind> {
        let seen: Value = decode(body)?;
        let Some(nested) = seen.get("cryptarchia_info") else {
            let chain: Chain = decode(body)?;
            let flat: FlatMode = decode(body)?;
            return Ok(chain.info(Generation::Flat, mode_of(&flat.mode), None));
        };
        if nested.get("state").is_some() {
            let with: WithState = decode(body)?;
            let stated: Stated = decode(body)?;
            let mode = match with.phase.as_deref() {
                Some("AwaitingGenesisTime") => Mode::Waiting,
                _ => mode_of(&stated.cryptarchia_info.state),
            };
            let chain = with.cryptarchia_info;
            return Ok(chain.info(Generation::State, mode, with.phase));
        }
        let with: WithMode = decode(body)?;
        let mode = match &with.mode {
            Value::String(mode) => mode_of(mode),
            Value::Object(started) => match started.get("Started") {
                Some(Value::String(mode)) => mode_of(mode),
                _ => return Err(no_mode(&with.mode)),
            },
            _ => return Err(no_mode(&with.mode)),
        };
        Ok(with.cryptarchia_info.info(Generation::Mode, mode, None))
    }

    /// The same for any wire.
    pub fn head(&self) -> Head {
        Head {
            tip: self.tip,
            height: self.height,
            slot: Some(self.slot),
            finalised: Some(Finalised {
                id: self.lib,
                height: None,
                slot: self.lib_slot,
            }),
            mode: self.mode.clone(),
        }
    }
}

fn no_mode(found: &Value) -> SourceErrorKind {
    wrong_shape("mode", &found.to_string(), "a mode, or {\"Started\": mode}")
}

fn mode_of(mode: &str) -> Mode {
    match mode {
        "Online" => Mode::Online,
        "Bootstrapping" => Mode::Bootstrapping,
        "AwaitingStart" | "AwaitingGenesisTime" => Mode::Waiting,
        other => Mode::Other(other.to_owned()),
    }
}

/// What all forms have. Not flattened into the flat ones: serde would then no longer know where in
/// an answer it fails.
#[derive(Deserialize)]
struct Chain {
    #[serde(deserialize_with = "id")]
    lib: BlockId,
    #[serde(default)]
    lib_slot: Option<u64>,
    #[serde(deserialize_with = "id")]
    tip: BlockId,
    slot: u64,
    height: u64,
}

impl Chain {
    fn info(self, generation: Generation, mode: Mode, phase: Option<String>) -> LogosInfo {
        let Self {
            lib,
            lib_slot,
            tip,
            slot,
            height,
        } = self;
        LogosInfo {
            generation,
            lib,
            lib_slot,
            tip,
            slot,
            height,
            mode,
            phase,
        }
    }
}

#[derive(Deserialize)]
struct FlatMode {
    mode: String,
}

#[derive(Deserialize)]
struct WithMode {
    cryptarchia_info: Chain,
    mode: Value,
}

#[derive(Deserialize)]
struct WithState {
    cryptarchia_info: Chain,
    #[serde(default)]
    phase: Option<String>,
}

#[derive(Deserialize)]
struct Stated {
    cryptarchia_info: State,
}

#[derive(Deserialize)]
struct State {
    state: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_in(rest: &str, state: &str) -> Result<Mode, SourceErrorKind> {
        let id = "01".repeat(32);
        let chain = format!(r#""lib":"{id}","tip":"{id}","slot":1,"height":1"#);
        let text = format!(r#"{{"cryptarchia_info":{{{chain}{state}}}{rest}}}"#);
        LogosInfo::of(text.as_bytes()).map(|info| info.mode)
    }

    #[test]
    fn what_a_node_does_is_read_in_each_of_its_words() {
        for (rest, state, expected) in [
            (r#","mode":"AwaitingStart""#, "", Mode::Waiting),
            (
                r#","mode":{"Started":"Bootstrapping"}"#,
                "",
                Mode::Bootstrapping,
            ),
            (
                r#","phase":"AwaitingGenesisTime""#,
                r#","state":"Bootstrapping""#,
                Mode::Waiting,
            ),
            (
                r#","phase":"InitialBlockDownload""#,
                r#","state":"Bootstrapping""#,
                Mode::Bootstrapping,
            ),
            (
                "",
                r#","state":"Resting""#,
                Mode::Other("Resting".to_owned()),
            ),
        ] {
            assert_eq!(mode_in(rest, state).unwrap(), expected);
        }
        for rest in [r#","mode":{"Ended":1}"#, r#","mode":7"#, ""] {
            assert!(matches!(
                mode_in(rest, ""),
                Err(SourceErrorKind::WrongShape { .. })
            ));
        }
    }
}
