//! Identities: asks nodes who they are, beside all else, since on some wires that takes long.
//!
//! A node that does not tell is asked in fewer and fewer cycles, so that it does not make all of
//! them long.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, stream::FuturesUnordered};

use super::{look::Asked, state::ChainState};
use crate::model::ChainIdentity;

/// What came, until the state takes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Mail(Arc<Mutex<Vec<Letter>>>);

/// Whose, and what it said.
type Letter = (Arc<str>, ChainIdentity);

impl Mail {
    fn put(&self, name: &Arc<str>, identity: ChainIdentity) {
        let mut letters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        letters.push((Arc::clone(name), identity));
    }

    fn take(&self) -> Vec<Letter> {
        let mut letters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *letters)
    }
}

/// Asks all of them, until all have answered.
pub(super) async fn ask(nodes: Vec<Asked>, mail: Mail) {
    let asked = nodes.iter().map(|node| async {
        if let Ok(identity) = node.source.identity().await {
            mail.put(&node.name, identity);
        }
    });
    let mut asked: FuturesUnordered<_> = asked.collect();
    while asked.next().await.is_some() {}
}

/// In which cycles a node is asked: how many there were since it was known to be who it is.
#[derive(Debug, Default)]
pub(super) struct Unsure {
    cycles: BTreeMap<Arc<str>, u32>,
}

impl ChainState {
    /// A node that comes back may be another one, with another chain.
    pub(super) fn doubt(&mut self, name: &Arc<str>) {
        self.unsure.cycles.insert(Arc::clone(name), 0);
    }

    /// Of these, the ones that are to be asked in this cycle.
    pub(super) fn take_unsure(&mut self, running: &[Asked]) -> Vec<Asked> {
        let unsure = &mut self.unsure.cycles;
        let mut due = |node: &&Asked| {
            let Some(cycles) = unsure.get_mut(&node.name) else {
                return false;
            };
            *cycles = cycles.saturating_add(1);
            cycles.is_power_of_two()
        };
        running.iter().filter(|node| due(node)).cloned().collect()
    }

    /// Takes what came. An identity without a genesis block is not all of it.
    pub(super) fn read_mail(&mut self) {
        for (name, identity) in self.mail.take() {
            if identity.genesis.is_some() {
                self.unsure.cycles.remove(&name);
            }
            if let Some(node) = self.nodes.get_mut(&name) {
                node.identity = Some(Arc::new(identity));
            }
        }
    }
}
