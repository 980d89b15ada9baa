//! Money: what wallets hold as it is observed, and transactions made of it.

use std::{fmt::Write as _, time::Duration};

use tokio::sync::MutexGuard;
use trellis_chain::{
    ChainView, Inclusion, OutputId, Owner, Standpoint, Submitted, TxId, Wallet, WalletUnknown,
};
use trellis_domain::{NodeHandle, NodeName};

use super::{
    AccountRef, BuiltTransaction, ChainSession, ChainWallets,
    book::{OpenWallet, Owners, choose, funding_wallet},
    shown::place,
};
use crate::{StepError, StepResult};

/// How long a transaction waits for change that is on its way back, unless a phrase says otherwise.
pub(super) const COINS_WITHIN: Duration = Duration::from_mins(1);

/// Coins of a wallet.
pub(super) type Coins = Vec<(OutputId, u64)>;

/// A wallet as phrases read it: who it is, and from where it is looked at.
#[derive(Debug, Clone)]
pub(super) struct Purse {
    pub(super) wallet: OpenWallet,
    pub(super) owner: Owner,
    group: Vec<NodeName>,
}

impl Purse {
    /// What it holds in `view`.
    pub(super) fn read(
        &self,
        view: &ChainView,
        submitted: &Submitted,
    ) -> Result<Wallet, WalletUnknown> {
        let group = self.group(view);
        view.wallet(&self.owner, Standpoint::Majority(&group), submitted)
    }

    /// Whether `transaction` is on the chain that counts for this wallet, and how.
    pub(super) fn inclusion(&self, view: &ChainView, transaction: &TxId) -> Option<Inclusion> {
        let group = self.group(view);
        view.inclusion_from(transaction, Standpoint::Majority(&group))
    }

    /// The nodes whose majority counts: those of the group that run, or all that do.
    fn group<'a>(&'a self, view: &'a ChainView) -> Vec<&'a str> {
        if self.group.is_empty() {
            let observed = view.nodes.values().filter(|node| node.observed);
            return observed.map(|node| &*node.name).collect();
        }
        self.group.iter().map(NodeName::as_str).collect()
    }

    /// What it holds, in words.
    pub(super) fn shown(&self, view: &ChainView, submitted: &Submitted) -> String {
        let name = &self.wallet.name;
        match self.read(view, submitted) {
            Ok(wallet) => format!(
                "{name}: {} LGO in {} outputs, {} encumbered, {} LGO available, as of block {}",
                wallet.balance(),
                wallet.on_chain.outputs_count(),
                wallet.encumbered.len(),
                wallet.available_balance(),
                place(&wallet.at)
            ),
            Err(unknown) => format!("{name}: not known: {unknown}"),
        }
    }
}

impl ChainSession {
    /// Who can sign.
    ///
    /// # Errors
    /// A chain without wallets.
    pub(super) fn signers(&self) -> StepResult<&dyn ChainWallets> {
        self.wallets
            .as_deref()
            .ok_or_else(|| StepError::new("the chain of this application has no wallets"))
    }

    /// The wallet called `name`.
    ///
    /// # Errors
    /// An unknown name, or a home that cannot say who the wallet is.
    pub(super) async fn purse(&self, name: &str) -> StepResult<Purse> {
        let nodes = self.node_names();
        let wallet = self.with_book(|book| book.wallet(name, &nodes))?;
        self.purse_of(wallet).await
    }

    /// The account that pays fees, read from where `beside` is read.
    pub(super) async fn sponsor(&self, beside: &OpenWallet) -> StepResult<Purse> {
        self.purse_of(OpenWallet {
            name: "the sponsor".to_owned(),
            account: AccountRef::Sponsor,
            home: beside.home.clone(),
        })
        .await
    }

    /// The wallets that the scenario named, and those of nodes if `funding` are wanted, too.
    pub(super) async fn purses(&self, user: bool, funding: bool) -> StepResult<Vec<Purse>> {
        let mut wallets = Vec::new();
        if user {
            wallets.extend(self.with_book(|book| book.user_wallets()));
        }
        if funding {
            wallets.extend(self.node_names().iter().map(funding_wallet));
        }
        let mut purses = Vec::with_capacity(wallets.len());
        for wallet in wallets {
            purses.push(self.purse_of(wallet).await?);
        }
        Ok(purses)
    }

    async fn purse_of(&self, wallet: OpenWallet) -> StepResult<Purse> {
        let known = self.with_owners(|owners| owners.get(&wallet.account).cloned());
        let owner = if let Some(owner) = known {
            owner
        } else {
            let home = self.cluster.node(&wallet.home)?;
            let owner = self.signers()?.owner(&wallet.account, &home).await?;
            let account = wallet.account.clone();
            self.with_owners(|owners: &mut Owners| owners.insert(account, owner.clone()));
            owner
        };
        let group = self.with_book(|book| book.group_of(&wallet.home));
        Ok(Purse {
            wallet,
            owner,
            group: group.unwrap_or_default(),
        })
    }

    fn node_names(&self) -> Vec<NodeName> {
        let nodes = self.cluster.inventory().snapshot();
        nodes.nodes().map(|node| node.name().clone()).collect()
    }

    /// A node that can be asked on behalf of a wallet: its home, or one of its group where that is down.
    pub(super) fn desk(&self, purse: &Purse) -> StepResult<NodeHandle> {
        let home = self.cluster.node(&purse.wallet.home)?;
        if home.state.is_running() {
            return Ok(home);
        }
        let running = self.cluster.running();
        let mut group = running
            .iter()
            .filter(|node| purse.group.is_empty() || purse.group.contains(node.name()));
        group.next().cloned().ok_or_else(|| {
            StepError::new(format!(
                "{} is {} and no other node of its group runs, so that {} cannot send",
                home.name(),
                home.state,
                purse.wallet.name
            ))
        })
    }

    /// Makes a transaction by `build`, out of coins that are worth `needed` and that no other transaction spends, and reserves them. Waits for coins that are on their way, with a deadline.
    ///
    /// # Errors
    /// Coins that did not come in time, with what the wallet had last.
    pub(super) async fn build(
        &self,
        purse: &Purse,
        order: Order<'_>,
        within: Duration,
    ) -> StepResult<BuiltTransaction> {
        let one_at_a_time: MutexGuard<'_, ()> = self.building.lock().await;
        let sponsor = if self.is_sponsored() {
            Some(self.sponsor(&purse.wallet).await?)
        } else {
            None
        };
        let signers = self.signers()?;
        let fee = signers.fee_max(order.outputs(), order.bytes());
        let paid = u128::from(order.value()?);
        let (own, lent) = match &sponsor {
            Some(_) => (paid, u128::from(fee)),
            None => (paid + u128::from(fee), 0),
        };
        // An inscription whose fee is paid by others takes no coin of its own.
        let coins = match own {
            0 => Coins::new(),
            own => self.coins(purse, own, within).await?,
        };
        let lent = match &sponsor {
            Some(sponsor) => self.coins(sponsor, lent, within).await?,
            None => Coins::new(),
        };
        let desk = self.desk(purse)?;
        let account = &purse.wallet.account;
        let built = match order {
            Order::Pay(outputs) => signers.pay(account, &desk, &coins, outputs, &lent).await?,
            Order::Inscribe(bytes) => {
                signers
                    .inscribe(account, &desk, &coins, bytes.to_vec(), &lent)
                    .await?
            }
        };
        self.with_book(|book| book.reserve(&built));
        drop(one_at_a_time);
        Ok(built)
    }

    /// Coins of a wallet that are worth `needed`, once there are any.
    async fn coins(&self, purse: &Purse, needed: u128, within: Duration) -> StepResult<Coins> {
        let submitted = self.with_book(|book| book.submitted());
        let name = &purse.wallet.name;
        let goal = format!("{name} to have {needed} LGO that no transaction spends");
        let mut coins = None;
        let enough = |view: &ChainView| {
            let wallet = purse.read(view, &submitted).ok();
            coins = wallet.and_then(|wallet| {
                let available = wallet.available().map(|(id, value)| (id.clone(), value));
                choose(available, needed)
            });
            coins.is_some()
        };
        // What was seen last will do: coins that are spent since are not spent by us.
        let waited = self.watch.wait_for(&*goal, within, enough).await;
        let last = || self.shown_purse(purse);
        waited.map_err(|error| {
            let text = error.describe_with(super::shown::shown);
            StepError::new(format!("{text}\n{}", last()))
        })?;
        Ok(coins.unwrap_or_default())
    }

    /// Hands in a transaction at `node`, for `wallet`.
    ///
    /// # Errors
    /// A node that does not take it.
    pub(super) async fn hand_in(
        &self,
        node: &NodeName,
        wallet: &str,
        built: &BuiltTransaction,
    ) -> StepResult {
        let source = self.source(node)?;
        match source.submit(&built.signed).await {
            Ok(_) => {
                self.with_book(|book| book.sent(wallet, built));
                Ok(())
            }
            Err(error) => {
                // Without an answer the node may have taken it, and its coins would be spent twice.
                if error.is_answer() {
                    self.with_book(|book| book.release(&built.effect.id));
                }
                Err(StepError::from(error)
                    .within(format!("{node} did not take a transaction of {wallet}")))
            }
        }
    }

    /// What a wallet holds by what was seen last, in words.
    pub(super) fn shown_purse(&self, purse: &Purse) -> String {
        let submitted = self.with_book(|book| book.submitted());
        let Some(seen) = self.watch.latest() else {
            return "nothing was seen of the chain yet".to_owned();
        };
        purse.shown(&seen.snapshot, &submitted)
    }

    /// A line a wallet.
    pub(super) fn shown_purses(&self, purses: &[Purse]) -> String {
        let mut text = String::from("wallets:");
        for purse in purses {
            write!(text, "\n  {}", self.shown_purse(purse)).expect("a String takes any text");
        }
        text
    }
}

/// What a transaction is to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order<'a> {
    /// Pay these.
    Pay(&'a [(Owner, u64)]),
    /// Write this.
    Inscribe(&'a [u8]),
}

impl Order<'_> {
    fn outputs(&self) -> usize {
        match self {
            Self::Pay(outputs) => outputs.len(),
            Self::Inscribe(_) => 0,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Pay(_) => 0,
            Self::Inscribe(bytes) => bytes.len(),
        }
    }

    fn value(&self) -> StepResult<u64> {
        let Self::Pay(outputs) = self else {
            return Ok(0);
        };
        let mut values = outputs.iter().map(|(_, value)| *value);
        values
            .try_fold(0u64, u64::checked_add)
            .ok_or_else(|| StepError::new("the outputs are worth more than there can be"))
    }
}
