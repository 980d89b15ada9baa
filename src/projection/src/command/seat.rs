//! Seats: where the views of one shard are for a command: in a store here that no node runs on, or with the node that owns it.

use std::{error::Error, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    fleet::{Fleet, Unanswered},
    node::{Node, Place},
    with_causes,
};
use crate::{
    rebuild::{
        Command, Cutover, Done, JetStreamSources, Node as RebuildNode, NodeMode, Phase, Progress,
        RebuildOptions,
        http::{Rebuilds, Remote, TypeRebuilds},
    },
    shards::ShardId,
    storage::StorageError,
};

/// How often progress is shown.
pub(super) const SHOWN_EVERY: Duration = Duration::from_millis(500);

/// Where the views of a shard are.
pub(super) struct Seat {
    /// Which shard; `None` where there is one only.
    pub(super) shard: Option<ShardId>,
    at: At,
}

/// What was done, and how far it was at last where it goes on no more.
pub(super) struct Answer {
    pub(super) done: Done,
    pub(super) last: Option<Progress>,
}

enum At {
    /// No node runs on its store.
    Store(Box<Node>),
    /// A node owns it.
    Owner(Arc<Fleet>),
}

impl Seat {
    /// The seats of the shard that is named, or of all. A node that runs is asked at `url`, or where it is known to answer; with an address and without a file of settings, none are needed.
    pub(super) async fn all(
        place: Place<'_>,
        url: Option<&str>,
        patience: Duration,
    ) -> Result<Vec<Self>, Box<dyn Error>> {
        let asked = |(fleet, shards): (Fleet, Vec<Option<ShardId>>)| {
            let fleet = Arc::new(fleet);
            let seats = shards.into_iter().map(|shard| Self {
                shard,
                at: At::Owner(Arc::clone(&fleet)),
            });
            seats.collect()
        };
        if let Some(url) = url {
            return Ok(asked(Fleet::at(place, url, patience).await?));
        }
        let node = Node::load(place)?;
        let shards = node.shards(place)?;
        let numbers: Vec<_> = shards
            .iter()
            .map(|shard| shard.unwrap_or_default())
            .collect();
        if node.settings.leases.is_some() || is_owned(place, &numbers)? {
            return Ok(asked((Fleet::find(&node, None, patience).await?, shards)));
        }
        let seats = shards.into_iter().map(|shard| {
            let node = Node::of_shard(Place {
                shard: Some(shard.unwrap_or_default()),
                ..place
            })?;
            Ok(Self {
                shard,
                at: At::Store(Box::new(node)),
            })
        });
        seats.collect()
    }

    /// The generations that are there, and what goes on.
    pub(super) async fn rebuilds(&self) -> Result<Rebuilds, Unanswered> {
        match &self.at {
            At::Owner(fleet) => {
                let show = async |remote: Remote| remote.show().await;
                fleet.rebuilds(self.number(), show).await
            }
            At::Store(node) => stored(node).map_err(|error| refused(&*error)),
        }
    }

    /// Asks for something. By itself, without a node, it is done to its end; what is shown meanwhile goes to `show`.
    pub(super) async fn ask(
        &self,
        command: &Command,
        show: &(dyn Fn(&Progress) + Sync),
    ) -> Result<Answer, Unanswered> {
        match &self.at {
            At::Owner(fleet) => {
                let ask = async |remote: Remote| remote.ask(command).await;
                let done = fleet.rebuilds(self.number(), ask).await?;
                Ok(Answer { done, last: None })
            }
            At::Store(node) => here(node, command, show)
                .await
                .map_err(|error| refused(&*error)),
        }
    }

    /// The nodes that are asked, where any run.
    pub(super) fn fleet(&self) -> Option<&Fleet> {
        match &self.at {
            At::Owner(fleet) => Some(fleet),
            At::Store(_) => None,
        }
    }

    pub(super) fn number(&self) -> ShardId {
        self.shard.unwrap_or_default()
    }
}

fn refused(error: &dyn Error) -> Unanswered {
    Unanswered::Refused(with_causes(error))
}

/// Whether a node runs on any of the stores. One node owns all of them, or none.
fn is_owned(place: Place<'_>, shards: &[ShardId]) -> Result<bool, Box<dyn Error>> {
    for shard in shards {
        let node = Node::of_shard(Place {
            shard: Some(*shard),
            ..place
        })?;
        if !node.settings.storage_path.exists() {
            continue;
        }
        match node.owned() {
            Ok(_) => {}
            Err(error) => match error.downcast_ref() {
                Some(StorageError::Owned { .. }) => return Ok(true),
                _ => return Err(error),
            },
        }
    }
    Ok(false)
}

fn exists(node: &Node) -> Result<(), Box<dyn Error>> {
    let folder = &node.settings.storage_path;
    if folder.exists() {
        return Ok(());
    }
    let folder = folder.display();
    Err(format!("there is no store in {folder}: name the node that has it with --node").into())
}

fn stored(node: &Node) -> Result<Rebuilds, Box<dyn Error>> {
    exists(node)?;
    let store = node.owned()?;
    let snapshot = store.snapshot()?;
    let mut types = Vec::new();
    for view_type in snapshot.view_types()? {
        if let Some(generations) = snapshot.generations(&view_type)? {
            types.push(TypeRebuilds {
                view_type: view_type.to_string(),
                generations,
            });
        }
    }
    Ok(Rebuilds {
        types,
        progress: Vec::new(),
        cutover_by_command: RebuildOptions::of(&node.settings).cutover == Cutover::Command,
    })
}

/// Does it on the store itself, since no node runs on it.
async fn here(
    node: &Node,
    command: &Command,
    show: &(dyn Fn(&Progress) + Sync),
) -> Result<Answer, Box<dyn Error>> {
    exists(node)?;
    let (job, handle) = RebuildNode::new(
        node.manifest.clone(),
        Arc::new(node.owned()?),
        Arc::new(JetStreamSources::new(&node.settings)),
        &node.settings,
        NodeMode::Job,
    );
    let job = job.with_shard_options(node.options());
    let stop = CancellationToken::new();
    let mut progress = handle.progress();
    let showing = async {
        let mut ticks = interval(SHOWN_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let all = progress.borrow_and_update().clone();
            all.iter().filter(|one| !one.phase.is_over()).for_each(show);
        }
    };
    let working = async { tokio::join!(job.run(&stop), handle.ask(command.clone())) };
    let (ended, done) = tokio::select! {
        both = working => both,
        () = showing => unreachable!("it goes on until the work is done"),
    };
    let done = done?;
    ended?;
    let last = handle.progress().borrow().clone();
    let last = last
        .into_iter()
        .rfind(|one| done.goes_on && one.generation == done.generation);
    if let Some(Phase::Failed { why }) = last.as_ref().map(|last| &last.phase) {
        return Err(why.clone().into());
    }
    let done = Done {
        goes_on: false,
        ..done
    };
    Ok(Answer { done, last })
}
