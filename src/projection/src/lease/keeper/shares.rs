//! Shares: how many shards a node should have by who else is there, and which it takes or gives up.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use super::{Held, Keeper, Turn};
use crate::{
    lease::{
        LeaseError, Posted, Tenure,
        record::{Lease, Member, Owners, owner_of},
        spread::Spread,
    },
    shards::ShardId,
};

impl Keeper {
    /// The other nodes that are there, and the keys of those that are long gone.
    pub(super) fn others(
        &self,
        nodes: &[(&Posted, Member)],
        now: Instant,
    ) -> (Vec<String>, Vec<String>) {
        let mut others = Vec::new();
        let mut gone = Vec::new();
        for (posted, member) in nodes {
            let silence = self.silence(&posted.key, now);
            if member.id == self.options.member.id {
                continue;
            }
            if silence < self.options.ttl {
                others.push(member.id.clone());
            } else if silence > self.options.ttl * Self::FORGOTTEN_AFTER {
                gone.push(posted.key.clone());
            }
        }
        (others, gone)
    }

    /// The other nodes with how many shards each has.
    pub(super) fn counted(
        &self,
        others: Vec<String>,
        leases: &BTreeMap<ShardId, (&Posted, Lease)>,
        now: Instant,
    ) -> Vec<(String, usize)> {
        let owned: Vec<_> = leases
            .values()
            .filter(|(posted, lease)| !self.is_free(posted, lease, now))
            .filter_map(|(_, lease)| Some(lease.owner.as_ref()?.id.as_str()))
            .collect();
        let count = |id: &str| owned.iter().filter(|owner| **owner == id).count();
        others
            .into_iter()
            .map(|id| {
                let count = count(&id);
                (id, count)
            })
            .collect()
    }

    pub(super) fn spread<'s>(&'s self, mine: usize, others: &'s [(String, usize)]) -> Spread<'s> {
        Spread {
            shards: self.options.layout.count() as usize,
            me: &self.options.member.id,
            mine,
            others,
        }
    }

    pub(super) fn give_up(&mut self, others: &[(String, usize)], turns: &mut Vec<Turn>) {
        let keeping = self.held.values().filter(|held| !held.giving_up).count();
        let over = self.spread(keeping, others).over();
        let last = self.held.iter_mut().rev();
        let mut last: Vec<_> = last.filter(|(_, held)| !held.giving_up).collect();
        // What another node could not run would not be taken by that one.
        last.sort_by_key(|(_, held)| held.lease.failed_by.is_some());
        for (shard, held) in last.into_iter().take(over) {
            held.giving_up = true;
            turns.push(Turn::GiveUp(*shard));
        }
    }

    /// Takes free shards up to the share of this node, and above it what another node could not run.
    pub(super) async fn take(
        &mut self,
        others: &[(String, usize)],
        leases: &BTreeMap<ShardId, (&Posted, Lease)>,
        now: Instant,
        turns: &mut Vec<Turn>,
    ) -> Result<(), LeaseError> {
        let spread = self.spread(self.held.len(), others);
        let (most, first) = (spread.most(), spread.first());
        let mut wanted: Vec<_> = self.options.layout.ids().collect();
        wanted.rotate_left(first);
        wanted.sort_by_key(|shard| !self.options.preferred.contains(shard));
        for shard in wanted {
            let found = leases.get(&shard);
            let rescued = found.is_some_and(|(_, lease)| self.is_failed_by_another(lease));
            if self.held.len() >= most && !rescued {
                continue;
            }
            if self.held.contains_key(&shard) || self.has_failed(shard, others.is_empty(), now) {
                continue;
            }
            if !found.is_none_or(|(posted, lease)| self.is_free(posted, lease, now)) {
                continue;
            }
            match self.take_one(shard, found).await {
                Ok(tenure) => turns.push(Turn::Taken(shard, tenure)),
                // Somebody was quicker.
                Err(LeaseError::Moved { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_failed_by_another(&self, lease: &Lease) -> bool {
        let by = lease.failed_by.as_ref();
        by.is_some_and(|by| *by != self.options.member.id)
    }

    /// Whether this node could not run `shard` just now: others try it first, where there are any.
    fn has_failed(&self, shard: ShardId, is_alone: bool, now: Instant) -> bool {
        let times = if is_alone { 1 } else { Self::FORGOTTEN_AFTER };
        let failed = self.failed.get(&shard);
        failed.is_some_and(|failed| now - *failed < self.options.ttl * times)
    }

    pub(super) fn is_free(&self, posted: &Posted, lease: &Lease, now: Instant) -> bool {
        match &lease.owner {
            None => true,
            // Held, it would not be asked for: it is what is left of a tenure that ended, or of a write without an answer.
            Some(owner) if owner.id == self.options.member.id => true,
            // The owner may have been told another time than this node.
            Some(_) => {
                let ttl = self.options.ttl.max(Duration::from_millis(lease.ttl_ms));
                self.silence(&posted.key, now) >= ttl
            }
        }
    }

    pub(super) async fn take_one(
        &mut self,
        shard: ShardId,
        found: Option<&(&Posted, Lease)>,
    ) -> Result<Tenure, LeaseError> {
        let begun = Instant::now();
        let before = found.map_or(0, |(_, lease)| lease.epoch);
        let stored = self.epochs.get(&shard).copied().unwrap_or_default();
        let lease = Lease {
            owner: Some(self.options.member.clone()),
            epoch: before.max(stored) + 1,
            since_ms: now_ms(),
            ttl_ms: u64::try_from(self.options.ttl.as_millis()).unwrap_or(u64::MAX),
            failed_by: found
                .filter(|(_, lease)| self.is_failed_by_another(lease))
                .and_then(|(_, lease)| lease.failed_by.clone()),
        };
        let key = self.keys.shard(shard);
        let revision = found.map(|(posted, _)| posted.revision);
        let revision = self.post(&key, lease.encode(), revision).await?;
        let tenure = Tenure::new(lease.epoch, self.until(begun));
        self.options.preferred.insert(shard);
        let held = Held {
            lease,
            revision,
            tenure: tenure.clone(),
            giving_up: false,
        };
        self.held.insert(shard, held);
        Ok(tenure)
    }

    pub(super) fn publish(&self, leases: &BTreeMap<ShardId, (&Posted, Lease)>, now: Instant) {
        let theirs = leases.iter().filter_map(|(shard, (posted, lease))| {
            let ours = lease.owner.as_ref()?.id == self.options.member.id;
            (!ours && !self.is_free(posted, lease, now)).then_some((*shard, owner_of(lease)?))
        });
        let ours = self
            .held
            .iter()
            .filter_map(|(shard, held)| Some((*shard, owner_of(&held.lease)?)));
        let owners: Owners = theirs.chain(ours).collect();
        self.owners.send_if_modified(|before| {
            let changed = *before != owners;
            *before = owners;
            changed
        });
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
