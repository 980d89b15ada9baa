//! Orphans: blocks that came before their parents, kept until those come, and only so many.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{Graph, GraphError, Inserted, Place};
use crate::{
    id::BlockId,
    model::{Block, Header},
};

/// A header that waits, with what is in its block when that came along.
pub type Orphan = (Header, Option<Arc<Block>>);

/// What became of a header, and of those that waited for it.
#[derive(Debug, Default)]
pub struct Grown {
    /// New in the graph, parents first.
    pub added: Vec<Place>,
    /// Not possible where they say that they are.
    pub refused: Vec<GraphError>,
}

/// Headers that wait for their parents. When there are too many, the oldest is given up: it will
/// be asked for again as the ancestor of somebody's head.
#[derive(Debug)]
pub struct Orphans {
    by_parent: HashMap<BlockId, Vec<Orphan>>,
    /// Parent and child, the oldest first. May name orphans that were adopted since.
    order: VecDeque<(BlockId, BlockId)>,
    count: usize,
    count_max: usize,
}

impl Orphans {
    /// Keeps at most `count_max`.
    pub fn new(count_max: usize) -> Self {
        Self {
            by_parent: HashMap::new(),
            order: VecDeque::new(),
            count: 0,
            count_max,
        }
    }

    /// Puts a header into `graph`, and after it all that waited for it; or keeps it until its
    /// parent comes.
    pub fn grow(&mut self, graph: &mut Graph, header: Header, block: Option<Arc<Block>>) -> Grown {
        let mut grown = Grown::default();
        let mut next = vec![(header, block)];
        while let Some((header, block)) = next.pop() {
            let (id, parent) = (header.id, header.parent);
            match graph.insert_with(header.clone(), block.clone()) {
                Ok(Inserted::Added(height)) => grown.added.push(Place { height, id }),
                Ok(Inserted::Known) => {}
                Ok(Inserted::Below) => continue,
                Ok(Inserted::Orphan) => {
                    if let Some(parent) = parent {
                        self.keep(parent, header, block);
                    }
                    continue;
                }
                Err(refused) => {
                    grown.refused.push(refused);
                    continue;
                }
            }
            next.extend(self.adopt(&id));
        }
        grown
    }

    /// Keeps one that waits for `parent`.
    fn keep(&mut self, parent: BlockId, header: Header, block: Option<Arc<Block>>) {
        let waiting = self.by_parent.entry(parent).or_default();
        if let Some(known) = waiting.iter_mut().find(|(known, _)| known.id == header.id) {
            known.1 = known.1.take().or(block);
            return;
        }
        self.order.push_back((parent, header.id));
        waiting.push((header, block));
        self.count += 1;
        while self.count > self.count_max || self.order.len() > 2 * self.count_max {
            let Some((parent, child)) = self.order.pop_front() else {
                return;
            };
            self.give_up(parent, child);
        }
    }

    fn give_up(&mut self, parent: BlockId, child: BlockId) {
        let Some(waiting) = self.by_parent.get_mut(&parent) else {
            return;
        };
        let before = waiting.len();
        waiting.retain(|(header, _)| header.id != child);
        self.count -= before - waiting.len();
        if waiting.is_empty() {
            self.by_parent.remove(&parent);
        }
    }

    /// Those that waited for `parent`.
    pub fn adopt(&mut self, parent: &BlockId) -> Vec<Orphan> {
        let adopted = self.by_parent.remove(parent).unwrap_or_default();
        self.count -= adopted.len();
        adopted
    }

    /// The parents that are waited for.
    pub fn parents(&self) -> impl Iterator<Item = &BlockId> {
        self.by_parent
            .keys()
            .filter(|parent| !self.is_orphan(parent))
    }

    fn is_orphan(&self, id: &BlockId) -> bool {
        let mut waiting = self.by_parent.values().flatten();
        waiting.any(|(header, _)| header.id == *id)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}
