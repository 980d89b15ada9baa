//! The keeper: takes shards for a node, renews them, and gives up what is over its share.
//!
//! What the share of a node is, and what it takes or gives up for that, is in `shares`.
//! It runs nothing. Each turn says what changed, and whoever runs the shards stops those that ended and then lets them go.

mod shares;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    LeaseBoard, LeaseError, Posted, Tenure,
    record::{About, Keys, Lease, Member, Owners, encode},
};
use crate::shards::{ShardId, ShardLayout};

/// How a node takes part.
#[derive(Debug, Clone)]
pub struct KeeperOptions {
    /// The node.
    pub member: Member,
    /// What is shared.
    pub layout: ShardLayout,
    /// How long a lease is good without being written again.
    pub ttl: Duration,
    /// What is taken before others: the shards that this node has something of.
    pub preferred: BTreeSet<ShardId>,
    /// Nobody else will ever be on the board, so there is nobody to wait for.
    pub alone: bool,
}

impl KeeperOptions {
    /// How often a lease is written: twice more may fail before it runs out.
    pub fn turn_every(&self) -> Duration {
        self.ttl / 3
    }

    /// How much earlier an owner stops than others may begin: for clocks that run at another speed, and for a commit that is being written.
    fn margin(&self) -> Duration {
        self.ttl / 5
    }

    /// How long the board may take to answer.
    fn answers_within(&self) -> Duration {
        self.ttl / 6
    }
}

/// What a turn changed.
#[derive(Debug, Clone)]
pub enum Turn {
    /// The shard is this node's own from now on.
    Taken(ShardId, Tenure),
    /// It is not any more.
    Lost(ShardId),
    /// It is over the share of this node: stop it, then let it go.
    GiveUp(ShardId),
}

struct Held {
    lease: Lease,
    revision: u64,
    tenure: Tenure,
    giving_up: bool,
}

/// A revision, and since when this node knows of it.
struct Seen {
    revision: u64,
    since: Instant,
}

/// Keeps the leases of one node.
pub struct Keeper {
    board: Arc<dyn LeaseBoard>,
    options: KeeperOptions,
    keys: Keys,
    held: BTreeMap<ShardId, Held>,
    /// It has been on the board for a turn, so the others count with it.
    announced: bool,
    leaving: bool,
    /// The board did not answer this node, which leaves, when it was told that a shard is let go. It does not ask it for each of the others: all leases run out at about the same time.
    silent: bool,
    seen: HashMap<String, Seen>,
    /// When this node could not run them.
    failed: BTreeMap<ShardId, Instant>,
    /// Epochs that stores are known to have.
    epochs: BTreeMap<ShardId, u64>,
    owners: watch::Sender<Owners>,
}

impl Keeper {
    /// After how many times its time a node that is gone is removed from the board.
    const FORGOTTEN_AFTER: u32 = 10;

    /// A keeper that has nothing yet.
    pub fn new(board: Arc<dyn LeaseBoard>, options: KeeperOptions) -> Self {
        Self {
            board,
            keys: Keys::of(options.layout.count()),
            announced: options.alone,
            options,
            held: BTreeMap::new(),
            leaving: false,
            silent: false,
            seen: HashMap::new(),
            failed: BTreeMap::new(),
            epochs: BTreeMap::new(),
            owners: watch::Sender::default(),
        }
    }

    /// Who has which shard, as far as this node knows.
    pub fn owners(&self) -> watch::Receiver<Owners> {
        self.owners.subscribe()
    }

    /// Takes nothing more, and tells the others not to count with this node.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// The next owner of `shard` must have a higher epoch than `epoch`, which its store has.
    pub fn outbid(&mut self, shard: ShardId, epoch: u64) {
        let known = self.epochs.entry(shard).or_default();
        *known = epoch.max(*known);
    }

    /// Renews what is held, looks at the board, and takes or gives up what the share of this node says.
    ///
    /// # Errors
    /// The board does not answer. What was held stays so until its time ends.
    pub async fn turn(&mut self) -> (Vec<Turn>, Result<(), LeaseError>) {
        let mut turns = Vec::new();
        let unclear = self.renew_all(&mut turns).await;
        let rest = self.look(&unclear, &mut turns).await;
        (turns, rest)
    }

    /// Lets a shard go that has been stopped: others may have it at once.
    ///
    /// # Errors
    /// The board does not answer; then others have it when the lease has run out.
    pub async fn release(&mut self, shard: ShardId) -> Result<(), LeaseError> {
        let Some(held) = self.held.remove(&shard) else {
            return Ok(());
        };
        held.tenure.end();
        let lease = Lease {
            owner: None,
            ..held.lease
        };
        let key = self.keys.shard(shard);
        let posted = if self.silent {
            Err(silent("take a key"))
        } else {
            self.post(&key, lease.encode(), Some(held.revision)).await
        };
        // What failed before it left says nothing of the board as it is by then.
        self.silent = self.leaving && matches!(posted, Err(LeaseError::Unreachable { .. }));
        self.owners.send_if_modified(|owners| {
            let ours = owners
                .get(&shard)
                .is_some_and(|owner| owner.member == self.options.member);
            ours && owners.remove(&shard).is_some()
        });
        posted.map(drop)
    }

    /// Lets a shard go that this node cannot run. Others may have it at once, above their shares too; this node tries it again after a while.
    ///
    /// # Errors
    /// The board does not answer; then others have it when the lease has run out.
    pub async fn fail(&mut self, shard: ShardId) -> Result<(), LeaseError> {
        self.failed.insert(shard, Instant::now());
        self.options.preferred.remove(&shard);
        if let Some(held) = self.held.get_mut(&shard) {
            held.lease.failed_by = Some(self.options.member.id.clone());
        }
        self.release(shard).await
    }

    /// Takes this node off the board.
    ///
    /// # Errors
    /// The board does not answer; then others notice when its time has run out.
    pub async fn depart(&mut self) -> Result<(), LeaseError> {
        self.leaving = true;
        if self.silent {
            return Err(silent("remove a key"));
        }
        let key = self.keys.node(&self.options.member);
        within(&self.options, "remove a key", self.board.remove(&key)).await
    }

    async fn post(
        &self,
        key: &str,
        value: bytes::Bytes,
        revision: Option<u64>,
    ) -> Result<u64, LeaseError> {
        let posted = self.board.post(key, value, revision);
        within(&self.options, "take a key", posted).await
    }

    /// Until when a lease is ours that was begun to be written at `begun`.
    fn until(&self, begun: Instant) -> Instant {
        begun + self.options.ttl - self.options.margin()
    }

    /// Writes all that is held again. Returns those of which nobody knows whether they were written.
    async fn renew_all(&mut self, turns: &mut Vec<Turn>) -> Vec<ShardId> {
        let shards: Vec<_> = self.held.keys().copied().collect();
        let unclear = self.renew(&shards).await;
        // Whatever the answers were, what has run out has ended.
        self.held.retain(|shard, held| {
            let holds = held.tenure.holds();
            if !holds {
                held.tenure.end();
                turns.push(Turn::Lost(*shard));
            }
            holds
        });
        unclear
    }

    /// Writes leases again, all at once, because a board that does not answer must not cost the time of each. Returns those that may have failed.
    async fn renew(&mut self, shards: &[ShardId]) -> Vec<ShardId> {
        let begun = Instant::now();
        let this = &*self;
        let posts = shards.iter().map(|shard| async move {
            let held = &this.held[shard];
            let key = this.keys.shard(*shard);
            let posted = this.post(&key, held.lease.encode(), Some(held.revision));
            (*shard, posted.await)
        });
        let answers = join_all(posts).await;
        let until = self.until(begun);
        let mut unclear = Vec::new();
        for (shard, answer) in answers {
            let held = self.held.get_mut(&shard).expect("it was there just now");
            match answer {
                Ok(revision) => {
                    held.revision = revision;
                    held.tenure.renew(until);
                }
                Err(error) => {
                    tracing::warn!(%shard, %error, "a lease was not renewed");
                    unclear.push(shard);
                }
            }
        }
        unclear
    }

    async fn look(&mut self, unclear: &[ShardId], turns: &mut Vec<Turn>) -> Result<(), LeaseError> {
        let posted = within(&self.options, "show its keys", self.board.read()).await?;
        let now = Instant::now();
        self.remember(&posted, now);
        let mut leases = BTreeMap::new();
        let mut nodes = Vec::new();
        for posted in &posted {
            match self.keys.read(posted) {
                Some(About::Shard(shard, lease)) => {
                    leases.insert(shard, (posted, lease));
                }
                Some(About::Node(member)) => nodes.push((posted, member)),
                None => {}
            }
        }
        self.settle(unclear, &leases, turns).await;
        let (others, gone) = self.others(&nodes, now);
        self.announce(&nodes).await?;
        for key in gone {
            let removed = within(&self.options, "remove a key", self.board.remove(&key)).await;
            if let Err(error) = removed {
                // It is in nobody's way, and no shard may wait for it.
                tracing::warn!(key, %error, "a node that has gone stays on the board");
                break;
            }
        }
        if !self.leaving {
            let others = self.counted(others, &leases, now);
            self.give_up(&others, turns);
            if self.announced {
                self.take(&others, &leases, now, turns).await?;
            }
            self.announced = true;
        }
        self.publish(&leases, now);
        Ok(())
    }

    fn remember(&mut self, posted: &[Posted], now: Instant) {
        let before = std::mem::take(&mut self.seen);
        for posted in posted {
            let revision = posted.revision;
            let since = match before.get(&posted.key) {
                Some(seen) if seen.revision == revision => seen.since,
                _ => now,
            };
            self.seen
                .insert(posted.key.clone(), Seen { revision, since });
        }
    }

    /// How long this node knows that `key` was not written.
    fn silence(&self, key: &str, now: Instant) -> Duration {
        self.seen
            .get(key)
            .map_or(Duration::ZERO, |seen| now - seen.since)
    }

    /// Finds out about writes whose answers were lost, and about leases that others took.
    async fn settle(
        &mut self,
        unclear: &[ShardId],
        leases: &BTreeMap<ShardId, (&Posted, Lease)>,
        turns: &mut Vec<Turn>,
    ) {
        let mut again = Vec::new();
        for shard in unclear {
            let Some(held) = self.held.get_mut(shard) else {
                continue;
            };
            match leases.get(shard) {
                // Ours, as it was or as we wrote it.
                Some((posted, lease)) if *lease == held.lease => {
                    held.revision = posted.revision;
                    again.push(*shard);
                }
                _ => {
                    held.tenure.end();
                    self.held.remove(shard);
                    turns.push(Turn::Lost(*shard));
                }
            }
        }
        self.renew(&again).await;
    }

    async fn announce(&mut self, nodes: &[(&Posted, Member)]) -> Result<(), LeaseError> {
        if self.leaving {
            return Ok(());
        }
        let key = self.keys.node(&self.options.member);
        let found = nodes.iter().find(|(posted, _)| posted.key == key);
        let revision = found.map(|(posted, _)| posted.revision);
        let value = encode(&self.options.member);
        self.post(&key, value, revision).await.map(drop)
    }
}

/// The answer of the board, or that it did not come in time.
async fn within<T>(
    options: &KeeperOptions,
    operation: &'static str,
    asked: impl Future<Output = Result<T, LeaseError>>,
) -> Result<T, LeaseError> {
    match timeout(options.answers_within(), asked).await {
        Ok(answer) => answer,
        Err(source) => Err(LeaseError::Unreachable {
            operation,
            source: Box::new(source),
        }),
    }
}

fn silent(operation: &'static str) -> LeaseError {
    let source = "it was not asked, because it has not answered the last time".into();
    LeaseError::Unreachable { operation, source }
}

#[cfg(test)]
mod tests;
