//! The book: the wallets that a scenario names, and the transactions that it made.
//!
//! Only what was said and done. What is on the chain is observed.

use std::collections::{BTreeMap, BTreeSet};

use trellis_chain::{OutputId, Owner, Submitted, TxId};
use trellis_domain::NodeName;

use super::{AccountRef, BuiltTransaction};
use crate::{StepError, StepResult};

/// What the funding wallet of a node is called after.
const FUNDING: &str = "_WALLET";

/// The wallets and transactions of a scenario.
#[derive(Debug, Clone, Default)]
pub(crate) struct WalletBook {
    wallets: BTreeMap<String, OpenWallet>,
    groups: BTreeMap<String, BTreeSet<NodeName>>,
    transactions: BTreeMap<String, Made>,
    /// Everything that was handed in, in that order.
    sent: Vec<Sent>,
    /// What those do, so that their inputs count as spent before they are in a block.
    submitted: Submitted,
}

/// A wallet that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenWallet {
    /// What phrases call it.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) account: AccountRef,
    /// The node that it belongs to.
    pub(crate) home: NodeName,
}

/// A transaction that has a name.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    /// What it is.
    pub(crate) built: BuiltTransaction,
    /// Who made it, where that was a wallet of the scenario.
    pub(crate) wallet: Option<String>,
}

/// A transaction that was handed in.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// Its id.
    pub(crate) id: TxId,
    /// Whose it is.
    pub(crate) wallet: String,
    /// What it cost.
    pub(crate) fee: u64,
}

impl WalletBook {
    /// Names a wallet.
    ///
    /// # Errors
    /// A name that another wallet has.
    pub(crate) fn open(&mut self, name: String, account: AccountRef, home: NodeName) -> StepResult {
        if name.is_empty() {
            return Err(StepError::new(format!("the wallet of {home} has no name")));
        }
        let wallet = OpenWallet {
            name: name.clone(),
            account,
            home,
        };
        match self.wallets.get(&name) {
            Some(known) if *known != wallet => Err(StepError::new(format!(
                "a wallet of {} is called {name} already",
                known.home
            ))),
            _ => {
                self.wallets.insert(name, wallet);
                Ok(())
            }
        }
    }

    /// The wallet of this name; each of `nodes` has a funding wallet that is called after it.
    ///
    /// # Errors
    /// An unknown name, with the known ones.
    pub(crate) fn wallet(&self, name: &str, nodes: &[NodeName]) -> StepResult<OpenWallet> {
        if let Some(wallet) = self.wallets.get(name) {
            return Ok(wallet.clone());
        }
        let funding = nodes.iter().map(funding_wallet);
        let known: Vec<OpenWallet> = self.wallets.values().cloned().chain(funding).collect();
        let found = known.iter().find(|wallet| wallet.name == name);
        found.cloned().ok_or_else(|| {
            let known: Vec<&str> = known.iter().map(|wallet| wallet.name.as_str()).collect();
            StepError::new(format!(
                "there is no wallet {name:?}; known wallets: {}",
                known.join(", ")
            ))
        })
    }

    /// The wallets that the scenario named.
    pub(crate) fn user_wallets(&self) -> Vec<OpenWallet> {
        self.wallets.values().cloned().collect()
    }

    /// Puts a node into a group.
    pub(crate) fn group(&mut self, group: String, node: NodeName) {
        self.groups.entry(group).or_default().insert(node);
    }

    /// Whose chain counts for a wallet of `home`: its group, or everybody where it has none.
    pub(crate) fn group_of(&self, home: &NodeName) -> Option<Vec<NodeName>> {
        let mut groups = self.groups.values();
        let group = groups.find(|group| group.contains(home))?;
        Some(group.iter().cloned().collect())
    }

    /// Names a transaction.
    ///
    /// # Errors
    /// A name that another transaction has.
    pub(crate) fn make(&mut self, alias: String, made: Made) -> StepResult {
        if self.transactions.contains_key(&alias) {
            let text = format!("a transaction is called {alias:?} already");
            return Err(StepError::new(text));
        }
        self.transactions.insert(alias, made);
        Ok(())
    }

    /// The transaction of this name.
    ///
    /// # Errors
    /// An unknown name, with the known ones.
    pub(crate) fn made(&self, alias: &str) -> StepResult<Made> {
        self.transactions.get(alias).cloned().ok_or_else(|| {
            let known: Vec<&str> = self.transactions.keys().map(String::as_str).collect();
            StepError::new(format!(
                "no transaction is called {alias:?}; known: {}",
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            ))
        })
    }

    /// Reserves what `built` spends.
    pub(crate) fn reserve(&mut self, built: &BuiltTransaction) {
        self.submitted.add(built.effect.clone());
    }

    /// Gives back what a transaction would have spent that was not handed in after all.
    pub(crate) fn release(&mut self, id: &TxId) {
        self.submitted.give_up(id);
    }

    /// Notes that a transaction of `wallet` was handed in.
    pub(crate) fn sent(&mut self, wallet: &str, built: &BuiltTransaction) {
        self.sent.push(Sent {
            id: built.effect.id,
            wallet: wallet.to_owned(),
            fee: built.fee,
        });
    }

    /// What was handed in by `wallet`, or by all.
    pub(crate) fn sent_by(&self, wallet: Option<&str>) -> Vec<Sent> {
        let by = |sent: &&Sent| wallet.is_none_or(|wallet| sent.wallet == wallet);
        self.sent.iter().filter(by).cloned().collect()
    }

    /// What counts as spent although it may be in no block yet.
    pub(crate) fn submitted(&self) -> Submitted {
        self.submitted.clone()
    }
}

/// The funding wallet of a node.
pub(crate) fn funding_wallet(node: &NodeName) -> OpenWallet {
    OpenWallet {
        name: format!("{node}{FUNDING}"),
        account: AccountRef::Node(node.clone()),
        home: node.clone(),
    }
}

/// The fewest of `coins`, largest first, that are worth `needed`; `None` where all of them are not.
pub(crate) fn choose(
    coins: impl IntoIterator<Item = (OutputId, u64)>,
    needed: u128,
) -> Option<Vec<(OutputId, u64)>> {
    let mut coins: Vec<(OutputId, u64)> = coins.into_iter().collect();
    coins.sort_by(|(left_id, left), (right_id, right)| {
        right.cmp(left).then_with(|| left_id.cmp(right_id))
    });
    let mut sum = 0;
    let mut chosen = Vec::new();
    for (id, value) in coins {
        if sum >= needed && !chosen.is_empty() {
            break;
        }
        sum += u128::from(value);
        chosen.push((id, value));
    }
    (sum >= needed && !chosen.is_empty()).then_some(chosen)
}

/// Who a wallet is on the chain, once that was asked.
pub(crate) type Owners = BTreeMap<AccountRef, Owner>;

#[cfg(test)]
mod tests {
    use super::*;

    fn coins(values: &[u64]) -> Vec<(OutputId, u64)> {
        let coin =
            |(n, value): (usize, &u64)| (OutputId::from(format!("coin-{n}").as_str()), *value);
        values.iter().enumerate().map(coin).collect()
    }

    fn chosen(values: &[u64], needed: u128) -> Option<Vec<u64>> {
        let chosen = choose(coins(values), needed)?;
        Some(chosen.into_iter().map(|(_, value)| value).collect())
    }

    #[test]
    fn the_fewest_coins_are_chosen_and_none_where_all_are_too_little() {
        assert_eq!(chosen(&[1, 7, 5], 7), Some(vec![7]));
        assert_eq!(chosen(&[1, 7, 5], 8), Some(vec![7, 5]));
        assert_eq!(chosen(&[1, 7, 5], 13), Some(vec![7, 5, 1]));
        assert_eq!(chosen(&[1, 7, 5], 14), None);
        assert_eq!(chosen(&[], 0), None);
        assert_eq!(chosen(&[3], 0), Some(vec![3]));
        assert_eq!(
            chosen(&[u64::MAX, u64::MAX], u128::from(u64::MAX) * 2),
            Some(vec![u64::MAX; 2])
        );
    }

    #[test]
    fn a_wallet_is_found_by_its_name_or_that_of_its_node() {
        let mut book = WalletBook::default();
        let node: NodeName = "NODE_1".parse().unwrap();
        let account = AccountRef::Index(3);
        book.open("ALICE".to_owned(), account.clone(), node.clone())
            .unwrap();
        book.open("ALICE".to_owned(), account, node.clone())
            .unwrap();
        let other = book.open("ALICE".to_owned(), AccountRef::Index(4), node.clone());
        assert!(
            other
                .unwrap_err()
                .to_string()
                .contains("called ALICE already")
        );
        let nodes = [node.clone()];
        let funding = book.wallet("NODE_1_WALLET", &nodes).unwrap();
        assert_eq!(funding.account, AccountRef::Node(node));
        let unknown = book.wallet("BOB", &nodes).unwrap_err().to_string();
        assert!(
            unknown.ends_with("known wallets: ALICE, NODE_1_WALLET"),
            "{unknown}"
        );
    }
}
