//! Round: batches of old blocks that are asked for at the same time, each from nodes that have it.
//!
//! What a node says of itself decides which batches it is asked for, so that the short answer of
//! one that is behind is never taken for all there is. What only one node says that it has must
//! come within a few rounds, or its word does not count.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt, stream};

use super::{
    asking::{Outcome, first_of},
    catch_up,
    config::ChainObserverConfig,
    look::Asked,
    state::ChainState,
};
use crate::{model::Block, source::RangeUnit, view::NodeView};

/// How many rounds in a row may bring nothing of what only one node says that it has.
const LONE_ROUNDS_MAX: u32 = 5;

/// Batches that are fetched at the same time, from nodes that count alike.
pub(super) struct Round {
    unit: RangeUnit,
    /// Each node, and the last position that it has.
    nodes: Vec<(Asked, u64)>,
    batches: Vec<(u64, u64)>,
    /// Whether only one node says that it has these.
    lone: bool,
}

impl Round {
    /// `None` when there is nothing to catch up with, or nobody to ask. Ends catching up where it
    /// is done or cannot be.
    pub(super) fn plan(
        state: &mut ChainState,
        nodes: &[Asked],
        config: &ChainObserverConfig,
    ) -> Option<Self> {
        let catch_up = state.catch_up.as_mut()?;
        let running = |node: &&Asked| {
            let view = state.nodes.get(&node.name);
            view.is_some_and(NodeView::is_running)
        };
        let running: Vec<&Asked> = nodes.iter().filter(running).collect();
        let first = Arc::clone(&running.first()?.name);
        let Some(unit) = running.iter().find_map(|node| node.source.range_unit()) else {
            tracing::info!("no node serves ranges of blocks: observation begins at the heads");
            state.catch_up = None;
            return None;
        };
        // Once: slots before the first block are many, and bring nothing.
        if unit == RangeUnit::Slot && !catch_up.from_genesis {
            catch_up.next = 0;
            catch_up.from_genesis = true;
        }
        let others = running.len() > 1;
        let goals = running.into_iter().filter_map(|node| {
            let head = state.nodes[&node.name].reported.as_ref()?;
            let goal = catch_up::goal(unit, head, config.final_depth)?;
            // Nodes that have nothing yet do not say that there is nothing.
            (node.source.range_unit() == Some(unit) && goal > 0).then(|| (node.clone(), goal))
        });
        let mut nodes: Vec<(Asked, u64)> = goals.collect();
        nodes.sort_by_key(|(_, goal)| std::cmp::Reverse(*goal));
        let shared = nodes.get(1).map(|(_, goal)| *goal);
        let alone = nodes.first().map(|(_, goal)| *goal);
        let lone = others && shared.is_none_or(|shared| catch_up.next > shared);
        let goal = if lone && catch_up.lone_rounds >= LONE_ROUNDS_MAX {
            shared
        } else if lone {
            alone
        } else {
            shared.or(alone)
        };
        catch_up.goal = goal;
        let Some(goal) = goal.filter(|goal| catch_up.next <= *goal) else {
            state.caught_up(&first);
            return None;
        };
        let span = catch_up.pace.begin(config.batch_blocks);
        let (next, count) = (catch_up.next, config.requests_max.max(1) as u64);
        let starts = (0..count).map_while(|n| next.checked_add(n.checked_mul(span)?));
        let batches = starts.take_while(|from| *from <= goal);
        let batches = batches
            .map(|from| (from, goal.min(from.saturating_add(span - 1))))
            .collect();
        Some(Self {
            unit,
            nodes,
            batches,
            lone,
        })
    }

    /// Whether all batches were had.
    pub(super) async fn run(self, state: &mut ChainState, config: &ChainObserverConfig) -> bool {
        let (unit, head_start) = (self.unit, config.serve_within / 5);
        let requests = self.batches.iter().enumerate().map(|(turn, (from, to))| {
            let (from, to) = (*from, *to);
            let have = self.nodes.iter().filter(|(_, goal)| *goal >= to);
            let mut nodes: Vec<Asked> = have.map(|(node, _)| node.clone()).collect();
            let first = turn % nodes.len().max(1);
            nodes.rotate_left(first);
            async move {
                let ask = |node: Asked| async move {
                    let blocks = node.range(from, to).await?;
                    Ok(is_whole(unit, from, to, &blocks).then_some(blocks))
                };
                (from, to, first_of(nodes, head_start, ask).await)
            }
        });
        let requests: Vec<_> = requests.collect();
        let mut answers = stream::iter(requests).buffered(config.requests_max.max(1));
        let mut most = 0;
        while let Some((from, to, outcome)) = answers.next().await {
            let trouble = trouble(from, to, &outcome);
            let Some((node, blocks)) = outcome.answer else {
                if let Some(catch_up) = &mut state.catch_up {
                    // Who only hangs may yet have it, unless it is so little that is asked for.
                    let disproved = outcome.silent.is_empty() || from == to;
                    catch_up.lone_rounds += u32::from(self.lone && disproved);
                    catch_up.pace.failed();
                    catch_up.trouble = Some(trouble);
                }
                return false;
            };
            most = most.max(blocks.len() as u64);
            state.take_old(unit, &node, blocks);
            if let Some(catch_up) = &mut state.catch_up {
                catch_up.next = to.saturating_add(1);
            }
        }
        if let Some(catch_up) = &mut state.catch_up {
            catch_up.pace.had(most, config.batch_blocks);
            catch_up.trouble = None;
            let nothing = self.lone && most == 0;
            catch_up.lone_rounds = if nothing { catch_up.lone_rounds + 1 } else { 0 };
        }
        true
    }
}

/// Whether these can be all blocks from `from` to `to`: they hang together, and where positions
/// are heights there is one for each of them. Only genesis may be left out.
fn is_whole(unit: RangeUnit, from: u64, to: u64, blocks: &[Block]) -> bool {
    let mut pairs = blocks.windows(2);
    let chained = pairs.all(|pair| pair[1].header.parent == Some(pair[0].header.id));
    let missing = (to - from)
        .saturating_add(1)
        .saturating_sub(blocks.len() as u64);
    let all = unit == RangeUnit::Slot || missing == 0 || (missing == 1 && from == 0);
    chained && all
}

fn trouble(from: u64, to: u64, outcome: &Outcome<Vec<Block>>) -> Arc<str> {
    let names = |silent: &BTreeSet<Arc<str>>| {
        let names: Vec<&str> = silent.iter().map(|name| &**name).collect();
        names.join(", ")
    };
    let (silent, without) = (names(&outcome.silent), outcome.without);
    match (silent.as_str(), without) {
        ("", 0) => format!("no node has all of {from} to {to}"),
        ("", count) => format!("{count} nodes have not all of {from} to {to}"),
        (silent, _) => format!("{silent} did not serve {from} to {to}"),
    }
    .into()
}
