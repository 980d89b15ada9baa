//! Generations: which views of a type are served, which others there are beside them, and how it came to that.
//!
//! The record is the alias of the type: whoever asks for `account` is shown the views in `account@{served}`. It is changed in one transaction with whatever the change is about.

use std::{collections::BTreeMap, fmt, time::SystemTime};

use serde::{Deserialize, Serialize};

use super::{TenantId, ViewId};

/// How many flips are remembered, and how far back one can go.
const HISTORY_MAX: usize = 32;

/// The generations of one type of views.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generations {
    /// The one that queries are answered from.
    pub served: u32,
    /// All that hold anything, the served one among them.
    pub kept: BTreeMap<u32, Generation>,
    /// Those that were served before, the last one at the end: the way back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<u32>,
    /// The flips so far, the last one at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Flip>,
    /// The program that an operator went back from, or whose generation was given up while it was being made. It is not tried again unless somebody says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    /// The highest number that was given up while it was being made. A manifest that has it still is not asking for it anew.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub given_up: u32,
    /// Views that are being exchanged in steps. Nobody may write to the served ones before that is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchange>,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// What it is there for.
    pub state: GenerationState,
    /// The program that makes it.
    pub program: String,
    /// Where its views were before they were removed to be made again in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuilding: Option<Target>,
    /// The first sequence that it is made of.
    #[serde(default = "first_of_all")]
    pub from: u64,
    /// The rebuild that it was begun by, which is the same in all shards of a stream; `None` where it was begun by the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<String>,
}

/// What a generation is there for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GenerationState {
    /// It is being made, to be served as soon as it has caught up.
    Shadow,
    /// It is served.
    Served,
    /// It was served, and still goes on so that it can be again.
    Old {
        /// When it was served last, in seconds since 1970.
        since: u64,
    },
    /// It was served, and an operator went back to another one.
    Rejected {
        /// When that was, in seconds since 1970.
        since: u64,
    },
    /// It holds a part of the views only, to be put into the served ones.
    Side {
        /// Which part.
        scope: Scope,
    },
    /// It is being cleared.
    Retiring,
}

/// A part of the views of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All of one tenant.
    Tenant {
        /// Whose.
        tenant: TenantId,
    },
    /// One view.
    View {
        /// Whose.
        tenant: TenantId,
        /// Which.
        id: ViewId,
    },
}

/// Where views have to come to, in which stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The sequence.
    pub floor: u64,
    /// When the stream was created, in nanoseconds since 1970.
    pub stream_created: i128,
}

/// An exchange of views that is too large for one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The generation that has the new ones.
    pub from: u32,
    /// Which views.
    pub scope: Scope,
    /// Where both the new and the old ones stand.
    pub floor: u64,
    /// Those up to this key of the table are done; empty at the beginning.
    pub done: String,
}

/// A change of what is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flip {
    /// What was served.
    pub from: u32,
    /// What is served since.
    pub to: u32,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Whether it went back.
    pub back: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "that is how it is asked for"
)]
fn is_none_yet(given_up: &u32) -> bool {
    *given_up == 0
}

fn first_of_all() -> u64 {
    1
}

impl Generations {
    /// The record of a type whose first views are in `generation`.
    pub fn first(generation: u32, program: &str) -> Self {
        let first = Generation::new(GenerationState::Served, program);
        Self {
            served: generation,
            kept: BTreeMap::from([(generation, first)]),
            before: Vec::new(),
            history: Vec::new(),
            rejected: None,
            given_up: 0,
            exchange: None,
        }
    }

    /// A number that no generation has, and that is above all that hold anything or were ever served.
    pub fn next(&self) -> u32 {
        let flips = self.history.iter().flat_map(|flip| [flip.from, flip.to]);
        let all = self.kept.keys().copied().chain(flips);
        all.max().unwrap_or(self.served).max(self.served) + 1
    }

    /// Gives `number` up. A program that was being tried by it is not tried again by itself.
    pub fn give_up(&mut self, number: u32) {
        let served = self.kept.get(&self.served);
        let served = served.map(|served| served.program.clone());
        if let Some(kept) = self.kept.get_mut(&number) {
            if kept.state == GenerationState::Shadow {
                self.given_up = self.given_up.max(number);
                if served.as_ref() != Some(&kept.program) {
                    self.rejected = Some(kept.program.clone());
                }
            }
            kept.state = GenerationState::Retiring;
        }
        self.before.retain(|before| *before != number);
    }

    /// Serves `to` from `at` on. The way back leads to what is served now.
    pub fn cut_over(&mut self, to: u32, at: SystemTime) {
        let since = seconds(at);
        self.leave(GenerationState::Old { since });
        self.before.push(self.served);
        self.before.retain(|before| *before != to);
        let excess = self.before.len().saturating_sub(HISTORY_MAX);
        self.before.drain(..excess);
        self.rejected = None;
        self.arrive(to, since, false);
    }

    /// Where the way back leads; `None` where nothing was served before that is still there.
    pub fn way_back(&self) -> Option<u32> {
        let whole = |number: &&u32| {
            let kept = self.kept.get(number);
            kept.is_some_and(|kept| matches!(kept.state, GenerationState::Old { .. }))
        };
        self.before.iter().rev().find(whole).copied()
    }

    /// Serves what was served before, from `at` on. `None` where there is no way back.
    pub fn roll_back(&mut self, at: SystemTime) -> Option<u32> {
        let to = self.way_back()?;
        let since = seconds(at);
        self.rejected = self.kept.get(&self.served).map(|left| left.program.clone());
        self.leave(GenerationState::Rejected { since });
        // What lies between them is no way back either.
        let here = self.before.iter().rposition(|before| *before == to)?;
        self.before.truncate(here);
        self.arrive(to, since, true);
        Some(to)
    }

    fn leave(&mut self, state: GenerationState) {
        if let Some(served) = self.kept.get_mut(&self.served) {
            served.state = state;
        }
    }

    fn arrive(&mut self, to: u32, at: u64, back: bool) {
        let from = std::mem::replace(&mut self.served, to);
        if let Some(served) = self.kept.get_mut(&to) {
            served.state = GenerationState::Served;
        }
        self.history.push(Flip { from, to, at, back });
        let excess = self.history.len().saturating_sub(HISTORY_MAX);
        self.history.drain(..excess);
    }

    /// The bytes that a store keeps.
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers are always JSON")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl Generation {
    /// A generation by `program`.
    pub fn new(state: GenerationState, program: &str) -> Self {
        Self {
            state,
            program: program.to_owned(),
            rebuilding: None,
            from: first_of_all(),
            rebuild: None,
        }
    }
}

impl fmt::Display for GenerationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shadow => f.write_str("is being made"),
            Self::Served => f.write_str("is served"),
            Self::Old { .. } => f.write_str("was served before"),
            Self::Rejected { .. } => f.write_str("was gone back from"),
            Self::Side { scope } => write!(f, "holds {scope}"),
            Self::Retiring => f.write_str("is being cleared"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant { tenant } => write!(f, "the views of tenant {tenant:?}"),
            Self::View { tenant, id } => write!(f, "the view {id} of tenant {tenant:?}"),
        }
    }
}

/// A moment as records have it.
pub(crate) fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second)
    }

    fn with_shadow(generations: &mut Generations) -> u32 {
        let number = generations.next();
        let shadow = Generation::new(GenerationState::Shadow, "q");
        generations.kept.insert(number, shadow);
        number
    }

    #[test]
    fn the_way_back_leads_through_all_that_were_served_and_ends_at_the_first() {
        let mut generations = Generations::first(1, "p");
        for second in [10, 20] {
            let next = with_shadow(&mut generations);
            generations.cut_over(next, at(second));
        }
        assert_eq!(generations.served, 3);
        assert_eq!(generations.roll_back(at(30)), Some(2));
        assert_eq!(
            generations.kept[&3].state,
            GenerationState::Rejected { since: 30 }
        );
        assert_eq!(generations.roll_back(at(40)), Some(1));
        assert_eq!(generations.roll_back(at(50)), None);
        assert_eq!(generations.served, 1);
        assert_eq!(generations.history.len(), 4);
    }

    #[test]
    fn what_is_cleared_is_no_way_back() {
        let mut generations = Generations::first(1, "p");
        for _ in 0..2 {
            let next = with_shadow(&mut generations);
            generations.cut_over(next, at(1));
        }
        generations.kept.get_mut(&2).unwrap().state = GenerationState::Retiring;
        assert_eq!(generations.way_back(), Some(1));
    }

    #[test]
    fn a_number_is_never_used_again_and_the_record_round_trips() {
        let mut generations = Generations::first(4, "p");
        let next = with_shadow(&mut generations);
        generations.cut_over(next, at(1));
        generations.roll_back(at(2));
        generations.kept.remove(&5);
        assert_eq!(generations.next(), 6);
        let bytes = generations.encode();
        assert_eq!(Generations::decode(&bytes).unwrap(), generations);
    }
}
