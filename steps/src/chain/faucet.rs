//! Faucets: phrases that ask somebody on the network to fund wallets.

use std::time::Duration;

use cucumber::{given, then, when};
use trellis_domain::{Credential, Endpoint, Secret};

use super::money::Purse;
use crate::{StepError, StepResult, TrellisWorld};

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Where the faucet is, once the scenario has said so.
#[derive(Debug, Clone)]
pub(crate) struct FaucetPlace {
    endpoint: Endpoint,
    credential: Option<Credential>,
}

/// Says where a faucet is, and who asks it. `env(NAME)` stands for a variable; a password must be given so.
#[given(expr = "I have a faucet with URL {string} username {string} and password {string}")]
#[when(expr = "I have a faucet with URL {string} username {string} and password {string}")]
#[then(expr = "I have a faucet with URL {string} username {string} and password {string}")]
fn faucet_with_user(
    world: &mut TrellisWorld,
    url: String,
    user: String,
    password: String,
) -> StepResult {
    let settings = &world.suite.settings;
    let password: Secret = settings.cell(&password)?.into_secret("password")?;
    let credential = Credential::Basic {
        user: settings.cell(&user)?.text().to_owned(),
        password,
    };
    world.faucet = Some(FaucetPlace {
        endpoint: endpoint(settings.cell(&url)?.text())?,
        credential: Some(credential),
    });
    Ok(())
}

/// Says where a faucet is that asks for no user. `env(NAME)` stands for a variable.
#[given(expr = "I have a faucet with URL {string}")]
#[when(expr = "I have a faucet with URL {string}")]
#[then(expr = "I have a faucet with URL {string}")]
fn faucet(world: &mut TrellisWorld, url: String) -> StepResult {
    world.faucet = Some(FaucetPlace {
        endpoint: endpoint(world.suite.settings.cell(&url)?.text())?,
        credential: None,
    });
    Ok(())
}

/// A URL that may be printed: one with a password in it is refused.
fn endpoint(url: &str) -> StepResult<Endpoint> {
    let name = "faucet".parse().expect("faucet is an endpoint name");
    Ok(Endpoint::new(name, url)?)
}

/// Asks the faucet so many times to fund the wallet, one time after the other. Each answer has 30 seconds; a refusal fails the step with the faucet's words.
#[given(expr = "I request {int} rounds of faucet funds for wallet {string}")]
#[when(expr = "I request {int} rounds of faucet funds for wallet {string}")]
#[then(expr = "I request {int} rounds of faucet funds for wallet {string}")]
async fn fund(world: &mut TrellisWorld, rounds: usize, name: String) -> StepResult {
    let chain = world.chain()?.clone();
    let purse = world.interruptible(chain.purse(&name)).await??;
    ask(world, rounds, &[purse]).await
}

/// Asks the faucet so many times to fund each wallet, those of nodes included.
#[given(expr = "I request {int} rounds of faucet funds for all wallets")]
#[when(expr = "I request {int} rounds of faucet funds for all wallets")]
#[then(expr = "I request {int} rounds of faucet funds for all wallets")]
async fn fund_all(world: &mut TrellisWorld, rounds: usize) -> StepResult {
    fund_those(world, rounds, true, true).await
}

/// Asks the faucet so many times to fund each wallet that the scenario named.
#[given(expr = "I request {int} rounds of faucet funds for all user wallets")]
#[when(expr = "I request {int} rounds of faucet funds for all user wallets")]
#[then(expr = "I request {int} rounds of faucet funds for all user wallets")]
async fn fund_users(world: &mut TrellisWorld, rounds: usize) -> StepResult {
    fund_those(world, rounds, true, false).await
}

/// Asks the faucet so many times to fund the wallet of each node.
#[given(expr = "I request {int} rounds of faucet funds for all funding wallets")]
#[when(expr = "I request {int} rounds of faucet funds for all funding wallets")]
#[then(expr = "I request {int} rounds of faucet funds for all funding wallets")]
async fn fund_nodes(world: &mut TrellisWorld, rounds: usize) -> StepResult {
    fund_those(world, rounds, false, true).await
}

async fn fund_those(world: &TrellisWorld, rounds: usize, user: bool, nodes: bool) -> StepResult {
    let chain = world.chain()?.clone();
    let purses = world.interruptible(chain.purses(user, nodes)).await??;
    if purses.is_empty() {
        return Err(StepError::new("there is no wallet to fund"));
    }
    ask(world, rounds, &purses).await
}

async fn ask(world: &TrellisWorld, rounds: usize, purses: &[Purse]) -> StepResult {
    let Some(place) = &world.faucet else {
        return Err(StepError::new(
            "no faucet is known; say `I have a faucet with URL ..`",
        ));
    };
    let app = world.suite.app(world.draft.app.as_ref())?;
    let faucet = app.chain.as_ref().and_then(|chain| chain.faucet());
    let Some(faucet) = faucet else {
        return Err(StepError::new("the application has no faucets"));
    };
    let url = place.endpoint.url().as_str();
    for round in 1..=rounds {
        for purse in purses {
            let name = &purse.wallet.name;
            let asked = faucet.ask(url, place.credential.as_ref(), &purse.owner);
            let asked = tokio::time::timeout(ANSWER_WITHIN, asked);
            let within = format!("round {round} of {rounds}, the faucet at {url} for {name}");
            match world.interruptible(asked).await? {
                Ok(asked) => asked.map_err(|error| error.within(within))?,
                Err(_) => {
                    return Err(StepError::new(format!(
                        "{within}: no answer within {ANSWER_WITHIN:?}"
                    )));
                }
            }
        }
    }
    Ok(())
}
