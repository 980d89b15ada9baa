//! Fetching: gets what is missing (branches of heads, bodies, funds) all at the same time.
//!
//! Each request is small, and what it brings is in the state at once, so that a cycle may be cut
//! short at any moment. Each kind has a share of the requests, so that none starves the others.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};

use super::{
    asking::{Outcome, first_of},
    branch::{self, Headers},
    config::ChainObserverConfig,
    floating::{Next, Wanted},
    funds,
    look::Asked,
    state::ChainState,
};
use crate::{
    id::{BlockId, Owner},
    model::{Block, BlockAnswer, Funds, Head},
};

/// Something that is asked for, once in a cycle.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Job {
    Below(BlockId),
    Body(BlockId),
    Funds(Owner, BlockId),
}

enum Got {
    Below(BlockId, Outcome<Headers>),
    Body(BlockId, Outcome<Arc<Block>>),
    Funds(Owner, Outcome<Funds>),
}

/// What is under way in one cycle.
pub(super) struct Fetching<'a> {
    config: &'a ChainObserverConfig,
    running: Vec<Asked>,
    wanted: Vec<Wanted>,
    asked: HashSet<Job>,
    nobody_has: HashSet<BlockId>,
    work: FuturesUnordered<BoxFuture<'static, Got>>,
    /// How many requests of each kind are under way: branches, bodies, funds.
    below: usize,
    bodies: usize,
    funds: usize,
}

impl<'a> Fetching<'a> {
    pub(super) fn new(
        config: &'a ChainObserverConfig,
        running: Vec<Asked>,
        wanted: Vec<Wanted>,
    ) -> Self {
        Self {
            config,
            running,
            wanted,
            asked: HashSet::new(),
            nobody_has: HashSet::new(),
            work: FuturesUnordered::new(),
            below: 0,
            bodies: 0,
            funds: 0,
        }
    }

    /// Until there is nothing more to ask for. Dropping it loses nothing but what is under way.
    pub(super) async fn run(mut self, state: &mut ChainState) {
        loop {
            self.branches(state);
            if self.config.bodies {
                self.ask_for_bodies(state);
                self.ask_for_funds(state);
            }
            let Some(got) = self.work.next().await else {
                return;
            };
            self.take(got, state);
        }
    }

    /// Brings what hangs together into the graph, and asks for what is missing below the rest.
    fn branches(&mut self, state: &mut ChainState) {
        loop {
            let mut changed = false;
            let mut ended = Vec::new();
            let mut open = self.below > 0;
            for wanted in self.wanted.clone() {
                let nobody_has = |id: &BlockId| self.nobody_has.contains(id);
                match state.floating.next(&wanted, &state.graph, nobody_has) {
                    Next::Known => {}
                    Next::Join => changed |= state.join(&wanted),
                    Next::Ended => ended.push(wanted),
                    Next::Ask(id) => open |= self.ask_below(id, &wanted, state),
                }
            }
            changed |= state.anchor_ended(&ended, self.running.len(), !open);
            if !changed {
                return;
            }
        }
    }

    /// Whether this will be told in this cycle.
    fn ask_below(&mut self, id: BlockId, wanted: &Wanted, state: &ChainState) -> bool {
        let job = Job::Below(id);
        if self.asked.contains(&job) {
            return false;
        }
        if self.below >= self.config.requests_max.max(1) {
            return true;
        }
        self.asked.insert(job);
        self.below += 1;
        let nodes = state.in_order(&self.running, &wanted.told);
        let head_start = self.head_start();
        let is_tip = id == wanted.tip;
        let (end, bodies) = (branch::end(wanted), self.config.bodies);
        let work = async move {
            let outcome = first_of(nodes, head_start, |node| async move {
                if is_tip {
                    branch::newest(&node, id, bodies).await
                } else {
                    branch::ancestry(&node, id, end).await
                }
            });
            Got::Below(id, outcome.await)
        };
        self.work.push(work.boxed());
        true
    }

    fn ask_for_bodies(&mut self, state: &ChainState) {
        let room = self.config.requests_max.max(1);
        if 2 * self.bodies > room {
            return;
        }
        let asked = &self.asked;
        let is_new = |id: &BlockId| !asked.contains(&Job::Body(*id));
        for id in state.unfilled(room - self.bodies, is_new) {
            self.asked.insert(Job::Body(id));
            self.bodies += 1;
            let nodes = state.in_order(&self.running, &[]);
            let head_start = self.head_start();
            let work = async move {
                let outcome = first_of(nodes, head_start, |node| async move {
                    Ok(match node.block(id).await? {
                        BlockAnswer::Found(block) if block.header.id == id => Some(Arc::new(block)),
                        _ => None,
                    })
                });
                Got::Body(id, outcome.await)
            };
            self.work.push(work.boxed());
        }
    }

    fn ask_for_funds(&mut self, state: &ChainState) {
        let room = self.config.requests_max.max(1);
        for (tip, owner) in funds::unknown(state, &self.running, self.config) {
            let job = Job::Funds(owner.clone(), tip);
            if self.funds >= room {
                return;
            }
            if !self.asked.insert(job) {
                continue;
            }
            self.funds += 1;
            let nodes = state.in_order(&self.running, &[]);
            let head_start = self.head_start();
            let work = async move {
                let asked = owner.clone();
                let outcome = first_of(nodes, head_start, move |node| {
                    let owner = asked.clone();
                    async move {
                        let funds = node.funds(&owner, tip).await;
                        // Most nodes follow only their own.
                        let funds = funds.unwrap_or(None);
                        Ok(funds.filter(|funds| funds.outputs.is_some()))
                    }
                });
                Got::Funds(owner, outcome.await)
            };
            self.work.push(work.boxed());
        }
    }

    fn take(&mut self, got: Got, state: &mut ChainState) {
        match got {
            Got::Below(id, outcome) => {
                self.below -= 1;
                state.was_slow(&outcome.silent, winner(&outcome));
                match outcome.answer {
                    Some((node, headers)) => state.hold(headers, &node),
                    None if outcome.silent.is_empty() => {
                        self.nobody_has.insert(id);
                    }
                    None => {}
                }
            }
            Got::Body(id, outcome) => {
                self.bodies -= 1;
                state.was_slow(&outcome.silent, winner(&outcome));
                match outcome.answer {
                    Some((_, block)) => state.fill(Arc::unwrap_or_clone(block)),
                    None if outcome.silent.is_empty() && outcome.without > 0 => state.without(&id),
                    None => {}
                }
            }
            Got::Funds(owner, outcome) => {
                self.funds -= 1;
                if let Some((_, funds)) = outcome.answer {
                    state.learn(&owner, &funds);
                }
            }
        }
    }

    fn head_start(&self) -> Duration {
        self.config.serve_within / 5
    }
}

fn winner<T>(outcome: &Outcome<T>) -> Option<&Arc<str>> {
    outcome.answer.as_ref().map(|(node, _)| node)
}

impl ChainState {
    /// The nodes in the order in which they are best asked: last those that are known to be slow
    /// or to say what cannot be, first those that told of it.
    fn in_order(&self, running: &[Asked], told: &[(Arc<str>, Head)]) -> Vec<Asked> {
        let mut nodes = running.to_vec();
        nodes.sort_by_key(|node| {
            let view = self.nodes.get(&node.name);
            let contradicts = view.is_some_and(|view| view.contradiction.is_some());
            let has_it = told.iter().any(|(name, _)| *name == node.name);
            (contradicts, self.slow.contains(&node.name), !has_it)
        });
        nodes
    }

    fn was_slow(&mut self, silent: &BTreeSet<Arc<str>>, winner: Option<&Arc<str>>) {
        self.slow.extend(silent.iter().cloned());
        if let Some(winner) = winner {
            self.slow.remove(winner);
        }
    }
}
