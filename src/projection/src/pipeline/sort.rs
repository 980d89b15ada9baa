//! Sorting: which views the events of a batch change, and which lane has each of them.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{
    decode::{Decoded, Verdict},
    fold::Folder,
    lane::{Item, record_of},
    rules::Halt,
};
use crate::{
    program::{Meta, ProgramError},
    quarantine::{Fault, Record, RecordKey},
    types::{Envelope, ViewKey},
};

/// An event that could not be given to a lane.
pub(super) type Stray = (u64, RecordKey, Record);

/// A batch, each event with the lanes of its keys.
#[derive(Default)]
pub(super) struct Sorted<'b> {
    pub(super) items: Vec<Vec<Item<'b>>>,
    pub(super) strays: Vec<Stray>,
    /// Behind this one nothing was looked at.
    pub(super) held_up: Option<Halt>,
}

/// Why the views of an event are not known.
enum NoKeys {
    Verdict(Verdict),
    /// Not yet.
    Unfinished(ProgramError),
}

impl From<Verdict> for NoKeys {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl From<ProgramError> for NoKeys {
    fn from(error: ProgramError) -> Self {
        Verdict::of(&error).map_or(Self::Unfinished(error), Self::Verdict)
    }
}

impl Folder {
    /// Gives each event to the lanes of its keys.
    pub(super) fn sort<'b>(&self, fresh: &'b [Decoded]) -> Sorted<'b> {
        let mut sorted = Sorted {
            items: self.lanes.iter().map(|_| Vec::new()).collect(),
            ..Sorted::default()
        };
        let mut keys = Vec::new();
        for decoded in fresh.iter().filter(|decoded| !decoded.foreign) {
            keys.clear();
            match self.keys(decoded, &mut keys) {
                Ok(event) => {
                    for key in keys.drain(..) {
                        sorted.items[self.lane_of(&key)].push(Item {
                            decoded,
                            event,
                            key,
                        });
                    }
                }
                Err(NoKeys::Verdict(verdict)) => {
                    let sequence = decoded.delivery.sequence;
                    let key = RecordKey {
                        sequence,
                        in_table: String::new(),
                    };
                    let record = record_of(decoded, verdict, self.projection.program.hash());
                    sorted.strays.push((sequence, key, record));
                }
                Err(NoKeys::Unfinished(error)) => {
                    sorted.held_up = Some(Halt::until_it_passes(decoded, &error));
                    break;
                }
            }
        }
        sorted
    }

    /// Adds the views of an event to `keys`. All of them, or it is said why not.
    fn keys<'b>(
        &self,
        decoded: &'b Decoded,
        keys: &mut Vec<ViewKey>,
    ) -> Result<&'b Envelope, NoKeys> {
        let event = decoded.event.as_ref().map_err(Clone::clone)?;
        let view_type = &self.projection.table.view_type;
        let meta = Meta {
            stream_seq: decoded.delivery.sequence,
            tenant: &event.tenant_id,
            view_type,
            view_id: None,
        };
        for id in self.projection.program.keys(event, &meta)? {
            let key = ViewKey::new(event.tenant_id.clone(), view_type.clone(), id);
            keys.push(key.map_err(|error| Verdict {
                fault: Fault::Contract,
                reason: error.to_string(),
            })?);
        }
        for key in &*keys {
            self.limits.admit(key)?;
        }
        Ok(event)
    }

    pub(super) fn lane_of(&self, key: &ViewKey) -> usize {
        if self.lanes.len() == 1 {
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        usize::try_from(hasher.finish() % self.lanes.len() as u64).expect("there are few lanes")
    }
}
