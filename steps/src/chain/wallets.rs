//! Wallets: who holds what on the chain, as the scenario calls them.

use std::collections::BTreeMap;

use trellis_domain::NodeName;

use super::AccountRef;
use crate::{StepError, StepResult, effect::StepEffects};

pub(crate) const EFFECTS: &[StepEffects] = &[];

/// The wallets of a scenario, and whose chain counts for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct WalletBook {
    wallets: BTreeMap<String, OpenWallet>,
    groups: BTreeMap<String, Vec<NodeName>>,
}

/// A wallet that has a name.
#[derive(Debug, Clone)]
pub(crate) struct OpenWallet {
    /// Whose it is.
    pub(crate) account: AccountRef,
    /// The node that it belongs to.
    pub(crate) home: NodeName,
}

impl WalletBook {
    /// Names a wallet.
    ///
    /// # Errors
    /// A name that another wallet has.
    pub(crate) fn open(&mut self, name: String, account: AccountRef, home: NodeName) -> StepResult {
        match self.wallets.get(&name) {
            Some(known) if known.account != account => Err(StepError::new(format!(
                "a wallet of {} is called {name} already",
                known.home
            ))),
            _ => {
                self.wallets.insert(name, OpenWallet { account, home });
                Ok(())
            }
        }
    }

    /// Puts a node into a group.
    pub(crate) fn group(&mut self, group: String, node: NodeName) {
        self.groups.entry(group).or_default().push(node);
    }
}
