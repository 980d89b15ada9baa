//! What stands on the board: leases of shards, and the nodes that are there.
//!
//! Keys begin with the number of shards, so that nodes that are told another number do not meet.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Posted;
use crate::shards::ShardId;

/// A node that takes part, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name with something that no earlier run of it had.
    pub id: String,
    /// What it is called.
    pub node: String,
    /// Where it takes queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Member {
    /// The node `node` as it is from now on.
    pub fn starting(node: &str, address: Option<String>) -> Self {
        let allowed = |sign: char| {
            if sign.is_ascii_alphanumeric() || sign == '_' {
                sign
            } else {
                '-'
            }
        };
        let name: String = node.chars().map(allowed).collect();
        Self {
            id: format!("{name}-{:08x}", fastrand::u32(..)),
            node: node.to_owned(),
            address,
        }
    }
}

/// What a shard's key says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who has the shard; `None` where it was let go.
    pub owner: Option<Member>,
    /// How many owners it had.
    pub epoch: u64,
    /// Since when, in milliseconds since 1970 by the clock of the owner. Only for people.
    pub since_ms: u64,
    /// How long it is good without being written again.
    pub ttl_ms: u64,
    /// The node that could not run it and let it go for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_by: Option<String>,
}

impl Lease {
    pub(super) fn encode(&self) -> Bytes {
        encode(self)
    }
}

/// Who has a shard, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// The node.
    #[serde(flatten)]
    pub member: Member,
    /// How many owners the shard had with it.
    pub epoch: u64,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// The shards with their owners; a shard without one is not there.
pub type Owners = BTreeMap<ShardId, Owner>;

/// The keys of one number of shards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    count: u32,
}

/// What a key is about.
pub(super) enum About {
    Shard(ShardId, Lease),
    Node(Member),
}

impl Keys {
    pub(super) fn of(count: u32) -> Self {
        Self { count }
    }

    pub(super) fn shard(self, shard: ShardId) -> String {
        format!("{}.shard.{shard}", self.count)
    }

    pub(super) fn node(self, member: &Member) -> String {
        format!("{}.node.{}", self.count, member.id)
    }

    /// What a posted key says; `None` where it is of others.
    pub(super) fn read(self, posted: &Posted) -> Option<About> {
        let mut parts = posted.key.splitn(3, '.');
        let count: u32 = parts.next()?.parse().ok()?;
        if count != self.count {
            return None;
        }
        match (parts.next()?, parts.next()?) {
            ("shard", shard) => {
                let lease = serde_json::from_slice(&posted.value).ok()?;
                Some(About::Shard(shard.parse().ok()?, lease))
            }
            ("node", _) => Some(About::Node(serde_json::from_slice(&posted.value).ok()?)),
            _ => None,
        }
    }
}

pub(super) fn encode(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("text and numbers are always JSON")
        .into()
}

/// Who has what by what is posted, without knowing whether it has run out: for people who look.
pub fn survey(count: u32, posted: &[Posted]) -> Owners {
    let keys = Keys::of(count);
    let owned = posted.iter().filter_map(|posted| match keys.read(posted)? {
        About::Shard(shard, lease) => Some((shard, owner_of(&lease)?)),
        About::Node(_) => None,
    });
    owned.collect()
}

pub(super) fn owner_of(lease: &Lease) -> Option<Owner> {
    Some(Owner {
        member: lease.owner.clone()?,
        epoch: lease.epoch,
        since_ms: lease.since_ms,
    })
}
