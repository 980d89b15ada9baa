//! Shards: which part of a stream belongs to which shard, so that several nodes can share it.
//!
//! A shard is the unit of ownership, of storage and of query routing. Who owns one is not decided here (see `lease`), and how nodes share them is `cluster`'s business.
//!
//! # Where an event belongs
//! By default to shard `hash(tenant, aggregate_id) % shards`. The hash never changes, because stores are built by it: FNV-1a of 64 bits (offset `cbf29ce484222325`, prime `100000001b3`, both hexadecimal) over the bytes of the tenant, the byte `ff`, and the bytes of the aggregate id; then, so that its low bits depend on all of them, `h ^= h >> 33; h *= ff51afd7ed558ccd; h ^= h >> 33`.
//! Each shard reads the whole stream then, and leaves what is not its own.
//!
//! Where the subjects that are read hold the token `{shard}`, as in `ev.{shard}.>`, the publisher says it, and the server leaves out what is of other shards.
//!
//! # Where a view belongs
//! A view is written by the shards of all events that change it, so all of them must be of one shard, and correctness depends on the ids that a program makes.
//! Without a token, the id of a view must be the id of the aggregate: then any node can tell from it where it is. What a program would write elsewhere is refused as a fault of its contract, the same in every replay.
//! With a token, whoever publishes decides, and must give all events of one view the same token; it cannot be checked here, and a query for one view asks all shards.
//!
//! # Another number of shards
//! A checkpoint says of which shard of how many it is, so a store is never read as that of another. What is asked for then is a new generation of the views, built beside the old one.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::types::TenantId;

/// The token of a subject that stands for the number of a shard.
pub const SHARD_TOKEN: &str = "{shard}";

/// One of the shards, from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ShardId(u32);

impl ShardId {
    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }

    /// `text` with the number where its token is.
    pub fn fill(self, text: &str) -> String {
        text.replace(SHARD_TOKEN, &self.to_string())
    }
}

impl From<u32> for ShardId {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl FromStr for ShardId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How a stream is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardLayout {
    count: u32,
    by: ShardBy,
}

/// What tells the shard of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShardBy {
    /// Its tenant and aggregate.
    Aggregate,
    /// This token of its subject, from 0.
    Subject {
        /// Which token.
        token: usize,
    },
}

impl ShardLayout {
    /// The most shards there may be: each is a store and a reader.
    pub const COUNT_MAX: u32 = 1_024;

    /// Everything in one shard.
    pub const WHOLE: Self = Self {
        count: 1,
        by: ShardBy::Aggregate,
    };

    /// `count` shards of what `subjects` read.
    ///
    /// # Errors
    /// What is wrong with the subjects, as the end of "the subjects ...".
    pub fn new(count: u32, subjects: &[String]) -> Result<Self, String> {
        let tokens = subjects.iter().map(|subject| token_in(subject));
        let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
        let first = tokens.first().copied().flatten();
        if tokens.iter().any(|token| *token != first) {
            return Err(format!(
                "must all have {SHARD_TOKEN} as the same token, or none"
            ));
        }
        let by = first.map_or(ShardBy::Aggregate, |token| ShardBy::Subject { token });
        Ok(Self { count, by })
    }

    /// How many there are.
    pub fn count(self) -> u32 {
        self.count
    }

    /// What tells the shard of an event.
    pub fn by(self) -> ShardBy {
        self.by
    }

    /// All of them.
    pub fn ids(self) -> impl Iterator<Item = ShardId> {
        (0..self.count).map(ShardId)
    }

    /// The shard of an event that was published at `subject`; `None` where its token names none.
    pub fn of_event(self, tenant: &TenantId, aggregate: &str, subject: &str) -> Option<ShardId> {
        match self.by {
            ShardBy::Aggregate => Some(self.of_aggregate(tenant, aggregate)),
            ShardBy::Subject { token } => self.of_subject(token, subject),
        }
    }

    /// The shard of a view; `None` where its id does not tell.
    pub fn of_view(self, tenant: &TenantId, id: &str) -> Option<ShardId> {
        match self.by {
            ShardBy::Aggregate => Some(self.of_aggregate(tenant, id)),
            ShardBy::Subject { .. } => (self.count == 1).then_some(ShardId(0)),
        }
    }

    fn of_aggregate(self, tenant: &TenantId, aggregate: &str) -> ShardId {
        if self.count == 1 {
            return ShardId(0);
        }
        let shard = hash(tenant.as_str(), aggregate) % u64::from(self.count);
        ShardId(u32::try_from(shard).expect("it is less than a count of 32 bits"))
    }

    fn of_subject(self, token: usize, subject: &str) -> Option<ShardId> {
        let text = subject.split('.').nth(token)?;
        // One spelling for one shard, or a filter of the server would miss some.
        let shard: ShardId = text.parse().ok()?;
        (shard.0 < self.count && shard.to_string() == text).then_some(shard)
    }
}

/// Which token of `subject` is that of the shard.
fn token_in(subject: &str) -> Result<Option<usize>, String> {
    let tokens: Vec<_> = subject.split('.').collect();
    let found: Vec<_> = (0..tokens.len())
        .filter(|at| tokens[*at].contains(SHARD_TOKEN))
        .collect();
    match found[..] {
        [] => Ok(None),
        [at] if tokens[at] == SHARD_TOKEN => Ok(Some(at)),
        _ => Err(format!("must have {SHARD_TOKEN} once, as a whole token")),
    }
}

fn hash(tenant: &str, aggregate: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x100_0000_01b3;
    const MIX: u64 = 0xff51_afd7_ed55_8ccd;
    // No text has the byte ff, so no two pairs are read as the same bytes.
    let bytes = tenant.bytes().chain([0xff]).chain(aggregate.bytes());
    let mut hash = bytes.fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 33)
}

/// The part of a stream that one shard takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// How the stream is divided.
    pub layout: ShardLayout,
    /// Which part.
    pub shard: ShardId,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            layout: ShardLayout::WHOLE,
            shard: ShardId(0),
        }
    }
}

impl Share {
    /// What a checkpoint keeps of it; nothing where there is one shard only.
    pub fn mark(self) -> Option<ShardMark> {
        let by = match self.layout.by {
            ShardBy::Aggregate => "aggregate-fnv1a64-1",
            ShardBy::Subject { .. } => "subject",
        };
        (self.layout.count > 1).then(|| ShardMark {
            shard: self.shard,
            count: self.layout.count,
            by: by.to_owned(),
        })
    }
}

/// What a checkpoint says about the shard that it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardMark {
    /// Which.
    pub shard: ShardId,
    /// Of how many.
    pub count: u32,
    /// What tells the shard of an event, with the version of the hash.
    pub by: String,
}

impl fmt::Display for ShardMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {} of {} by {}", self.shard, self.count, self.by)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_aggregate(count: u32) -> ShardLayout {
        ShardLayout::new(count, &[]).unwrap()
    }

    #[test]
    fn the_hash_is_what_stores_were_built_by() {
        // From another implementation of the definition above. A change of them is a loss of all stores.
        let layout = by_aggregate(1_000);
        let known = [
            ("", "a-0", KNOWN[0]),
            ("north", "a-0", KNOWN[1]),
            ("", "north\u{ff}a-0", KNOWN[2]),
        ];
        for (tenant, aggregate, shard) in known {
            assert_eq!(
                layout.of_view(&tenant.into(), aggregate),
                Some(ShardId(shard)),
                "{tenant} {aggregate}"
            );
        }
    }

    const KNOWN: [u32; 3] = [427, 503, 314];

    #[test]
    fn aggregates_that_differ_in_one_sign_spread_over_all_shards() {
        const EACH: usize = 1_000;
        let layout = by_aggregate(6);
        let mut counts = [0_usize; 6];
        for number in 0..6 * EACH {
            let shard = layout
                .of_view(&TenantId::default(), &format!("a-{number}"))
                .unwrap();
            counts[shard.0 as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| count.abs_diff(EACH) < EACH / 8),
            "{counts:?}"
        );
    }

    #[test]
    fn subjects_tell_the_shard_by_one_whole_token_or_not_at_all() {
        let layout = |subjects: &[&str]| {
            let subjects: Vec<_> = subjects.iter().map(|text| (*text).to_owned()).collect();
            ShardLayout::new(4, &subjects)
        };
        assert_eq!(layout(&["ev.>"]).unwrap().by(), ShardBy::Aggregate);
        let told = layout(&["ev.{shard}.a.>", "ex.{shard}.>"]).unwrap();
        assert_eq!(told.by(), ShardBy::Subject { token: 1 });
        let of = |subject: &str| told.of_event(&TenantId::default(), "x", subject);
        assert_eq!(of("ev.3.a"), Some(ShardId(3)));
        assert_eq!(of("ev.4.a"), None);
        assert_eq!(of("ev.03.a"), None);
        assert_eq!(of("ev"), None);
        assert!(layout(&["ev.{shard}.>", "ex.>"]).is_err());
        assert!(layout(&["ev.s{shard}.>"]).is_err());
        assert!(layout(&["ev.{shard}.{shard}"]).is_err());
    }

    proptest! {
        #[test]
        fn each_aggregate_is_of_one_shard_that_is_there(tenant: String, aggregate: String, count in 1_u32..50) {
            let layout = by_aggregate(count);
            let tenant = TenantId::from(tenant);
            let shard = layout.of_event(&tenant, &aggregate, "any").unwrap();
            prop_assert!(shard.0 < count);
            prop_assert_eq!(layout.of_view(&tenant, &aggregate), Some(shard));
        }
    }
}
