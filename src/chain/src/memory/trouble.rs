//! Trouble: how a memory node misbehaves when a test tells it to.

use std::time::Duration;

use crate::{id::BlockId, model::Header};

/// How a node misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    /// Not at all.
    #[default]
    None,
    /// It answers nothing.
    Refuses,
    /// It never answers.
    Hangs,
    /// It says where it is, and never answers anything else.
    HangsOnBlocks,
    /// It never answers this call.
    HangsOn(&'static str),
    /// It never answers when more positions than this are asked for at once.
    HangsOnRangesOver(u64),
    /// It says where it is at once, and takes so long for anything else.
    Slow(Duration),
    /// It takes so long for this call.
    SlowOn(&'static str, Duration),
    /// Its ranges have nothing below this position.
    RangesFrom(u64),
    /// It says that its tip is this many blocks higher than it is.
    Boasts(u64),
    /// It serves headers with heights that are this many too high.
    Misplaces(u64),
    /// Its headers are not what their ids say.
    Forges,
    /// It says that this block, which it knows, is the parent of its tip.
    Grafts(BlockId),
}

impl Trouble {
    /// Whether this call is never answered.
    pub(super) fn hangs_on(self, call: &str) -> bool {
        match self {
            Self::Hangs => true,
            Self::HangsOnBlocks => !tells_where_it_is(call),
            Self::HangsOn(name) => name == call,
            _ => false,
        }
    }

    /// How long this call takes.
    pub(super) fn delay(self, call: &str) -> Duration {
        match self {
            Self::Slow(time) if !tells_where_it_is(call) => time,
            Self::SlowOn(name, time) if name == call => time,
            _ => Duration::ZERO,
        }
    }

    /// The header as it is served.
    pub(super) fn header(self, header: &Header) -> Header {
        let more = match self {
            Self::Misplaces(more) => more,
            _ => 0,
        };
        Header {
            height: header.height.map(|height| height + more),
            ..header.clone()
        }
    }
}

fn tells_where_it_is(call: &str) -> bool {
    call == "head" || call == "identity"
}
