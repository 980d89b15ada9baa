//! Wallets: phrases about who holds what, as a majority of the nodes has it on its chain.

use std::{fmt, str::FromStr, time::Duration};

use cucumber::{Parameter, given, then, when};
use trellis_chain::{ChainView, Inclusion, Submitted, TxId, Wallet};

use super::{ChainSession, money::Purse, watching::await_chain};
use crate::{StepError, StepResult, TrellisWorld, Within, effect::StepEffects};

pub(crate) const EFFECTS: &[StepEffects] = &[];

/// How many or how much: `3 or more`, `3 or less`, `exactly 3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Parameter)]
#[param(name = "amount", regex = r"\d+ or more|\d+ or less|exactly \d+")]
pub(crate) enum Amount {
    /// So much or more.
    AtLeast(u128),
    /// So much or less.
    AtMost(u128),
    /// Neither more nor less.
    Exactly(u128),
}

impl Amount {
    fn holds(self, found: u128) -> bool {
        match self {
            Self::AtLeast(wanted) => found >= wanted,
            Self::AtMost(wanted) => found <= wanted,
            Self::Exactly(wanted) => found == wanted,
        }
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<u128>()
                .map_err(|error| format!("{text:?} is not an amount: {error}"))
        };
        if let Some(exact) = text.strip_prefix("exactly ") {
            return number(exact).map(Self::Exactly);
        }
        if let Some(least) = text.strip_suffix(" or more") {
            return number(least).map(Self::AtLeast);
        }
        number(text.trim_end_matches(" or less")).map(Self::AtMost)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(wanted) => write!(f, "{wanted} or more"),
            Self::AtMost(wanted) => write!(f, "{wanted} or less"),
            Self::Exactly(wanted) => write!(f, "exactly {wanted}"),
        }
    }
}

/// Waits until the wallet has so many outputs on the chain that a majority of its node's group has; those that a waiting transaction spends still count.
#[given(expr = "wallet {string} has {amount} outputs in {duration}")]
#[when(expr = "wallet {string} has {amount} outputs in {duration}")]
#[then(expr = "wallet {string} has {amount} outputs in {duration}")]
async fn has_outputs(
    world: &mut TrellisWorld,
    name: String,
    outputs: Amount,
    within: Within,
) -> StepResult {
    let goal = format!("{outputs} outputs");
    await_wallet(world, &name, &goal, *within, |wallet| {
        outputs.holds(wallet.on_chain.outputs_count() as u128)
    })
    .await
}

/// Waits until the outputs of the wallet are worth so much, on the chain that a majority of its node's group has.
#[given(expr = "wallet {string} has {amount} LGO in {duration}")]
#[when(expr = "wallet {string} has {amount} LGO in {duration}")]
#[then(expr = "wallet {string} has {amount} LGO in {duration}")]
async fn has_value(
    world: &mut TrellisWorld,
    name: String,
    value: Amount,
    within: Within,
) -> StepResult {
    let goal = format!("{value} LGO");
    await_wallet(world, &name, &goal, *within, |wallet| {
        value.holds(wallet.balance())
    })
    .await
}

/// Waits until both hold of one block: so many outputs, worth so much together.
#[given(expr = "wallet {string} has {amount} outputs and {amount} LGO in {duration}")]
#[when(expr = "wallet {string} has {amount} outputs and {amount} LGO in {duration}")]
#[then(expr = "wallet {string} has {amount} outputs and {amount} LGO in {duration}")]
async fn has_both(
    world: &mut TrellisWorld,
    name: String,
    outputs: Amount,
    value: Amount,
    within: Within,
) -> StepResult {
    let goal = format!("{outputs} outputs and {value} LGO");
    await_wallet(world, &name, &goal, *within, |wallet| {
        outputs.holds(wallet.on_chain.outputs_count() as u128) && value.holds(wallet.balance())
    })
    .await
}

/// Waits until so many outputs of the wallet are encumbered: spent by a transaction that was handed in and is not in a block of the majority's chain.
#[given(expr = "wallet {string} has {amount} encumbered outputs in {duration}")]
#[when(expr = "wallet {string} has {amount} encumbered outputs in {duration}")]
#[then(expr = "wallet {string} has {amount} encumbered outputs in {duration}")]
async fn has_encumbered(
    world: &mut TrellisWorld,
    name: String,
    outputs: Amount,
    within: Within,
) -> StepResult {
    let goal = format!("{outputs} encumbered outputs");
    await_wallet(world, &name, &goal, *within, |wallet| {
        outputs.holds(wallet.encumbered.len() as u128)
    })
    .await
}

/// Waits until every transaction that was handed in for the wallet is final: in a block that all running nodes will never leave.
#[given(expr = "wallet {string} has all submitted transactions settled in {duration}")]
#[when(expr = "wallet {string} has all submitted transactions settled in {duration}")]
#[then(expr = "wallet {string} has all submitted transactions settled in {duration}")]
async fn all_settled(world: &mut TrellisWorld, name: String, within: Within) -> StepResult {
    await_sent(world, &name, "settled", *within, |inclusion| {
        matches!(inclusion, Inclusion::Finalised { .. })
    })
    .await
}

/// Waits until every transaction that was handed in for the wallet is in a block of the chain that a majority of its node's group has.
#[given(expr = "wallet {string} has all submitted transactions included in {duration}")]
#[when(expr = "wallet {string} has all submitted transactions included in {duration}")]
#[then(expr = "wallet {string} has all submitted transactions included in {duration}")]
async fn all_included(world: &mut TrellisWorld, name: String, within: Within) -> StepResult {
    await_sent(world, &name, "included", *within, Inclusion::is_included).await
}

/// Waits until every wallet that the scenario named has at least so many outputs, all at one moment: `on-chain`, `encumbered` (spent by a transaction that waits) or `available` (neither).
#[given(expr = "I verify each wallet has minimum {int} outputs {string} in {duration}")]
#[when(expr = "I verify each wallet has minimum {int} outputs {string} in {duration}")]
#[then(expr = "I verify each wallet has minimum {int} outputs {string} in {duration}")]
async fn each_has(
    world: &mut TrellisWorld,
    least: usize,
    state: String,
    within: Within,
) -> StepResult {
    let count: fn(&Wallet) -> usize = match state.as_str() {
        "on-chain" => |wallet| wallet.on_chain.outputs_count(),
        "encumbered" => |wallet| wallet.encumbered.len(),
        "available" => |wallet| wallet.available().count(),
        other => {
            return Err(StepError::new(format!(
                "outputs are on-chain, encumbered or available, and not {other:?}"
            )));
        }
    };
    let chain = world.chain()?;
    let purses = world.interruptible(chain.purses(true, false)).await??;
    if purses.is_empty() {
        return Err(StepError::new("the scenario has named no wallet"));
    }
    let goal = format!("each wallet to have {least} {state} outputs or more");
    let submitted = chain.with_book(|book| book.submitted());
    let all = |view: &ChainView| {
        let enough = |purse: &Purse| {
            let wallet = purse.read(view, &submitted);
            wallet.is_ok_and(|wallet| count(&wallet) >= least)
        };
        purses.iter().all(enough)
    };
    let waited = await_chain(world, &goal, *within, all).await;
    waited.map_err(|error| with_purses(error, chain, &purses))
}

/// Notes what every wallet holds, those of nodes included, in the journal and on the screen.
#[given(expr = "I log wallet balances for all wallets")]
#[when(expr = "I log wallet balances for all wallets")]
#[then(expr = "I log wallet balances for all wallets")]
async fn log_balances(world: &mut TrellisWorld) -> StepResult {
    let chain = world.chain()?;
    let purses = world.interruptible(chain.purses(true, true)).await??;
    chain.now().await?;
    let text = chain.shown_purses(&purses);
    world.suite.progress.note(&text);
    world.journal.note(text);
    Ok(())
}

/// Fails unless the account that pays fees has spent exactly what the included transactions of this scenario cost; waits 60 seconds at most until all that were handed in are included.
#[given(expr = "tracked wallet fees equal sponsored fee account spent fees")]
#[when(expr = "tracked wallet fees equal sponsored fee account spent fees")]
#[then(expr = "tracked wallet fees equal sponsored fee account spent fees")]
async fn fees_equal(world: &mut TrellisWorld) -> StepResult {
    let chain = world.chain()?;
    let Some(sponsor) = chain.sponsor else {
        return Err(StepError::new(
            "nobody pays fees for others here; say `we have a sponsored genesis fee account ..`",
        ));
    };
    let purses = world.interruptible(chain.purses(true, true)).await??;
    let Some(beside) = purses.first() else {
        return Err(StepError::new("the scenario has no wallet"));
    };
    let account = world.interruptible(chain.sponsor(&beside.wallet)).await??;
    let sent = chain.with_book(|book| book.sent_by(None));
    let fees: u128 = sent.iter().map(|sent| u128::from(sent.fee)).sum();
    let had = u128::from(sponsor.tokens) * u128::from(sponsor.value);
    let none = Submitted::new();
    let goal = format!("the sponsor to have spent {fees} LGO of {had}");
    let spent = |view: &ChainView| {
        let wallet = account.read(view, &none);
        wallet.is_ok_and(|wallet| had.checked_sub(wallet.balance()) == Some(fees))
    };
    let waited = await_chain(world, &goal, super::money::COINS_WITHIN, spent).await;
    waited.map_err(|error| with_purses(error, chain, &[account]))
}

/// Waits on what a wallet holds.
async fn await_wallet(
    world: &TrellisWorld,
    name: &str,
    what: &str,
    within: Duration,
    predicate: impl Fn(&Wallet) -> bool,
) -> StepResult {
    let chain = world.chain()?;
    let purse = world.interruptible(chain.purse(name)).await??;
    let goal = format!("wallet {name} to have {what}");
    let submitted = chain.with_book(|book| book.submitted());
    let holds = |view: &ChainView| {
        purse
            .read(view, &submitted)
            .is_ok_and(|wallet| predicate(&wallet))
    };
    let waited = await_chain(world, &goal, within, holds).await;
    waited.map_err(|error| with_purses(error, chain, &[purse]))
}

/// Waits on what became of what was handed in for a wallet.
async fn await_sent(
    world: &TrellisWorld,
    name: &str,
    what: &str,
    within: Duration,
    is_there: impl Fn(&Inclusion) -> bool,
) -> StepResult {
    let chain = world.chain()?;
    let purse = world.interruptible(chain.purse(name)).await??;
    let sent = chain.with_book(|book| book.sent_by(Some(name)));
    let ids: Vec<TxId> = sent.into_iter().map(|sent| sent.id).collect();
    if ids.is_empty() {
        let text = format!("nothing was handed in for wallet {name}, so nothing can be {what}");
        return Err(StepError::new(text));
    }
    let there = |view: &ChainView, id: &TxId| {
        purse
            .inclusion(view, id)
            .is_some_and(|inclusion| is_there(&inclusion))
    };
    let goal = format!("all {} transactions of {name} to be {what}", ids.len());
    let all = |view: &ChainView| ids.iter().all(|id| there(view, id));
    let waited = await_chain(world, &goal, within, all).await;
    waited.map_err(|error| {
        let seen = chain.watch.latest();
        let missing = seen.map(|seen| {
            let missing = ids.iter().filter(|id| !there(&seen.snapshot, id));
            let lines = missing.map(|id| {
                let inclusion = purse.inclusion(&seen.snapshot, id);
                let inclusion =
                    inclusion.map_or_else(|| "unknown".to_owned(), |found| found.to_string());
                format!("\n  {id}: {inclusion}")
            });
            lines.collect::<String>()
        });
        StepError::new(format!(
            "{error}\nnot {what}:{}",
            missing.unwrap_or_default()
        ))
    })
}

fn with_purses(error: StepError, chain: &ChainSession, purses: &[Purse]) -> StepError {
    StepError::new(format!("{error}\n{}", chain.shown_purses(purses)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_says_on_which_side_it_is() {
        for (text, below, at, above) in [
            ("3 or more", false, true, true),
            ("3 or less", true, true, false),
            ("exactly 3", false, true, false),
        ] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!(amount.to_string(), text);
            assert_eq!(
                (amount.holds(2), amount.holds(3), amount.holds(4)),
                (below, at, above)
            );
        }
        assert!("3".repeat(60).parse::<Amount>().is_err());
    }
}
