//! Checks: whether a checkpoint still means what it meant, before anything is delivered after it.
//!
//! Streams are deleted and made anew, and lose their end when a machine loses power. Then sequences are used again, and going on would skip events in silence.

use std::fmt;

use super::StreamFacts;
use crate::{
    shards::{ShardId, ShardMark},
    types::{CHECKPOINT_FORMAT, Checkpoint, ViewTable},
};

/// What a projection is made of now, to be compared with what its checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// What of the stream is read.
    pub filter_hash: String,
    /// The program.
    pub program_hash: String,
    /// Which shard of the stream it is, where there are several.
    pub shard: Option<ShardMark>,
}

/// Why a projection does not go on. It is shown until somebody mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockedReason {
    /// Another version wrote the store.
    Format {
        /// What it wrote.
        found: u32,
    },
    /// The stream is not the one that the views are made of.
    StreamRecreated,
    /// The stream ends before the checkpoint.
    FloorBeyondStream {
        /// The checkpoint.
        floor: u64,
        /// The end of the stream.
        last: u64,
    },
    /// The message at the checkpoint is another one.
    FloorMessageChanged {
        /// The checkpoint.
        floor: u64,
    },
    /// Messages after the checkpoint are gone.
    HistoryGone {
        /// The checkpoint.
        floor: u64,
        /// The first message that is left.
        first: u64,
    },
    /// Other subjects are read, or events belong to other tenants, than in the views.
    FilterChanged,
    /// The views are made by another program.
    ProgramChanged,
    /// The views are those of another shard, or of another number of them.
    ShardsChanged {
        /// What they are of.
        found: Option<ShardMark>,
        /// What is asked for.
        expected: Option<ShardMark>,
    },
    /// The stream cannot be read in this way without losing events.
    Unsafe {
        /// Why.
        because: String,
    },
    /// An event cannot be applied, and the policy is to halt.
    Poison {
        /// Which event.
        sequence: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// More keys are parked than may be, or more events of them.
    TooManyParked {
        /// How many keys.
        keys: usize,
        /// How many events.
        events: usize,
    },
    /// Another node wrote to the store.
    FloorMoved,
    /// Another node owns the shard.
    Fenced,
    /// Storage fails in a way that does not pass.
    Storage {
        /// What it says.
        what: String,
    },
}

impl BlockedReason {
    /// The commands that mend it, for the views in `table`: the first one unless there is a reason for another. None where something else is to be done.
    pub fn commands(&self, table: &ViewTable, shard: Option<ShardId>) -> Vec<String> {
        let of_type = &table.view_type;
        let commands = match self {
            Self::HistoryGone { first, .. } => vec![
                format!("accept-gap {table}"),
                format!("rebuild {of_type} --from {first}"),
            ],
            Self::Poison { sequence, .. } => vec![format!("quarantine drop {table} {sequence}")],
            Self::TooManyParked { .. } => vec![
                format!("quarantine list {table}"),
                format!("rebuild {of_type}"),
            ],
            Self::ProgramChanged => vec![
                format!("rebuild {of_type}"),
                format!("accept-program {table}"),
            ],
            // Another generation is made of what the stream has now, and what is there is served meanwhile.
            Self::StreamRecreated
            | Self::FilterChanged
            | Self::FloorMessageChanged { .. }
            | Self::ShardsChanged { .. }
            | Self::Format { .. } => vec![format!("rebuild {of_type}")],
            // Another generation would be behind what is served, and never be served.
            Self::FloorBeyondStream { .. } => vec![format!("rebuild {of_type} --in-place")],
            Self::Fenced => vec!["shards".to_owned()],
            Self::Unsafe { .. } | Self::FloorMoved | Self::Storage { .. } => Vec::new(),
        };
        let named = |command: String| match shard {
            // It is about all of them.
            Some(shard) if command != "shards" => format!("projection --shard {shard} {command}"),
            _ => format!("projection {command}"),
        };
        commands.into_iter().map(named).collect()
    }

    /// What mends it, for the views in `table` of the only shard.
    pub fn mend(&self, table: &ViewTable) -> String {
        self.mend_in(table, None)
    }

    /// The same in one of several shards.
    pub fn mend_in(&self, table: &ViewTable, shard: Option<ShardId>) -> String {
        let commands = self.commands(table, shard);
        let first = commands.first().map_or("", String::as_str);
        let other = commands.get(1).map_or("", String::as_str);
        match self {
            Self::HistoryGone { .. } => format!(
                "{first} while no node has the store, which keeps the views   (or {other}, which makes them of what is left)"
            ),
            Self::Poison { .. } => format!("mend the program and start again, or {first}"),
            Self::TooManyParked { .. } => {
                format!(
                    "see {first}, mend the program or raise parked_keys_max or parked_events_max, and {other}"
                )
            }
            Self::ProgramChanged => {
                format!("{first}   (or {other}, which mixes views of both)")
            }
            Self::ShardsChanged { .. } => format!(
                "set generation: {} for {} in the manifest, which is built in the new shards while nodes with the old number serve   (or {first})",
                table.generation + 1,
                table.view_type
            ),
            Self::FloorMoved => "stop the other node, and start this one again".to_owned(),
            Self::Unsafe { .. } => {
                "set source: ordered on a stream with limits retention".to_owned()
            }
            Self::Fenced => format!("nothing; its owner goes on ({first} names it)"),
            Self::Storage { .. } => "mend the storage, and start again".to_owned(),
            _ => first.to_owned(),
        }
    }
}

impl fmt::Display for BlockedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format { found } => write!(
                f,
                "the store has form {found}, and this version writes {CHECKPOINT_FORMAT}"
            ),
            Self::StreamRecreated => {
                f.write_str("the stream was created anew since the checkpoint")
            }
            Self::FloorBeyondStream { floor, last } => {
                write!(
                    f,
                    "the checkpoint is at {floor} and the stream ends at {last}: it has lost its end"
                )
            }
            Self::FloorMessageChanged { floor } => {
                write!(
                    f,
                    "the message at the checkpoint {floor} is another one: the stream lost its end and grew again"
                )
            }
            Self::HistoryGone { floor: 0, first } => {
                write!(
                    f,
                    "nothing is in the views yet, and the stream begins at {first}: the events before are gone"
                )
            }
            Self::HistoryGone { floor, first } => {
                write!(
                    f,
                    "the checkpoint is at {floor} and the stream begins at {first}: events between are gone"
                )
            }
            Self::FilterChanged => f.write_str(
                "other subjects are read, or other tenants meant, than the views are made of",
            ),
            Self::ProgramChanged => f.write_str("the views are made by another program"),
            Self::ShardsChanged { found, expected } => {
                let told = |mark: &Option<ShardMark>| {
                    mark.as_ref()
                        .map_or_else(|| "an undivided stream".to_owned(), ToString::to_string)
                };
                write!(
                    f,
                    "the views are of {}, and {} is asked for",
                    told(found),
                    told(expected)
                )
            }
            Self::Unsafe { because } => f.write_str(because),
            Self::Poison { sequence, reason } => {
                write!(f, "event {sequence} cannot be applied: {reason}")
            }
            Self::TooManyParked { keys, events } => {
                write!(f, "{keys} keys are parked, and {events} events of them")
            }
            Self::Fenced => f.write_str("another node owns the shard by now"),
            Self::FloorMoved => f.write_str("another node wrote to the store"),
            Self::Storage { what } => f.write_str(what),
        }
    }
}

/// The checkpoint of views that nothing is in yet.
pub(crate) fn beginning(facts: &StreamFacts, expected: &Expected) -> Checkpoint {
    Checkpoint {
        format: CHECKPOINT_FORMAT,
        stream: facts.stream.clone(),
        stream_created: facts.created,
        filter_hash: expected.filter_hash.clone(),
        program_hash: expected.program_hash.clone(),
        shard: expected.shard.clone(),
        floor: 0,
        published: None,
    }
}

/// The checkpoint to go on from: the stored one if all is well, or one at 0 where there is none.
///
/// # Errors
/// Why going on would lose events or mix views.
pub fn examine(
    facts: &StreamFacts,
    stored: Option<&Checkpoint>,
    expected: &Expected,
) -> Result<Checkpoint, BlockedReason> {
    if let Some(because) = &facts.unsafe_because {
        return Err(BlockedReason::Unsafe {
            because: because.clone(),
        });
    }
    let Some(stored) = stored else {
        if !facts.drops_what_was_read && facts.first > 1 {
            return Err(BlockedReason::HistoryGone {
                floor: 0,
                first: facts.first,
            });
        }
        return Ok(beginning(facts, expected));
    };
    if stored.format != CHECKPOINT_FORMAT {
        return Err(BlockedReason::Format {
            found: stored.format,
        });
    }
    if stored.stream != facts.stream || stored.stream_created != facts.created {
        return Err(BlockedReason::StreamRecreated);
    }
    // Before the filter, which holds the number of the shard where subjects tell it.
    if stored.shard != expected.shard {
        return Err(BlockedReason::ShardsChanged {
            found: stored.shard.clone(),
            expected: expected.shard.clone(),
        });
    }
    if stored.filter_hash != expected.filter_hash {
        return Err(BlockedReason::FilterChanged);
    }
    if stored.program_hash != expected.program_hash {
        return Err(BlockedReason::ProgramChanged);
    }
    let floor = stored.floor;
    if floor > facts.last {
        return Err(BlockedReason::FloorBeyondStream {
            floor,
            last: facts.last,
        });
    }
    if !facts.drops_what_was_read && facts.first > floor + 1 {
        return Err(BlockedReason::HistoryGone {
            floor,
            first: facts.first,
        });
    }
    // The message itself may have been removed since, as limits of subjects do.
    if let (Some(stored), Some(found)) = (stored.published, facts.published_at_floor)
        && stored != found
    {
        return Err(BlockedReason::FloorMessageChanged { floor });
    }
    Ok(stored.clone())
}

#[cfg(test)]
mod tests;
