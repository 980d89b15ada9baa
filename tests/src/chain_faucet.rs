//! Chain faucet: somebody who gives value away on a devchain network, and how the phrases about faucets ask them.
//!
//! The two sides share the form alone: `POST <url>/<key>` pays one round to the key, and an error is a status and a sentence.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header::AUTHORIZATION},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use devchain::{
    DevchainClient, DevchainWallet, FeePayer, Genesis, GenesisNotes, id::PublicKey, wallet::Notes,
};
use tokio::{net::TcpListener, sync::Mutex, task::JoinHandle};
use trellis_chain::Owner;
use trellis_domain::{Credential, Secret};
use trellis_steps::{StepError, StepResult, chain::Faucet, outsiders::OutsideFaucet};

use crate::etcd_kv::http_client;

/// What one round is worth.
const ROUND: u64 = 1000;
/// The account that it comes from; no table of a feature has such a number.
const ACCOUNT: u64 = 1 << 40;
/// How long a faucet may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const USER: &str = "tester";

/// What the faucet has in the genesis of its network.
pub(crate) fn endowment() -> GenesisNotes {
    GenesisNotes {
        account_index: ACCOUNT,
        token_count: 20,
        token_amount: 1_000_000,
    }
}

/// A faucet that runs. It ends when it is dropped.
pub(crate) struct RunningFaucet {
    place: OutsideFaucet,
    serving: JoinHandle<()>,
}

struct Till {
    node: DevchainClient,
    wallet: DevchainWallet,
    /// What it has left, changes of payments that wait included.
    notes: Mutex<Notes>,
    authorization: String,
}

impl RunningFaucet {
    /// A faucet of the network with this genesis, which pays through `node`.
    pub(crate) async fn start(genesis: &Genesis, node: DevchainClient) -> StepResult<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let password = format!("password-{}", url.len() + std::process::id() as usize);
        let wallet = DevchainWallet::new(genesis, ACCOUNT);
        let till = Till {
            node,
            notes: Mutex::new(wallet.genesis_notes()),
            wallet,
            authorization: format!("Basic {}", STANDARD.encode(format!("{USER}:{password}"))),
        };
        let router = Router::new()
            .route("/guarded/{key}", post(pay_known))
            .route("/open/{key}", post(pay))
            .with_state(Arc::new(till));
        let serving = tokio::spawn(async move {
            // It serves until it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        let place = OutsideFaucet {
            url: format!("{url}/guarded"),
            open_url: format!("{url}/open"),
            user: USER.to_owned(),
            password: Secret::from(password),
        };
        Ok(Self { place, serving })
    }

    pub(crate) fn place(&self) -> OutsideFaucet {
        self.place.clone()
    }
}

impl Drop for RunningFaucet {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pay_known(
    headers: HeaderMap,
    till: State<Arc<Till>>,
    key: Path<String>,
) -> Result<String, (StatusCode, String)> {
    let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if given != Some(till.authorization.as_bytes()) {
        let text = "this faucet wants a user and a password".to_owned();
        return Err((StatusCode::UNAUTHORIZED, text));
    }
    pay(till, key).await
}

async fn pay(
    State(till): State<Arc<Till>>,
    Path(key): Path<String>,
) -> Result<String, (StatusCode, String)> {
    let wrong_key = |_| {
        let text = format!("{key:?} is nobody's key");
        (StatusCode::BAD_REQUEST, text)
    };
    let key: PublicKey = key.parse().map_err(wrong_key)?;
    // One at a time, so that no note is spent twice.
    let mut notes = till.notes.lock().await;
    let built = till
        .wallet
        .transfer(&notes, &[(key, ROUND)], FeePayer::Own)
        .map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let taken = till.node.submit(&built.signed).await;
    taken.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))?;
    for spent in &built.spent {
        notes.remove(spent);
    }
    let own = till.wallet.public_key();
    let change = built.created.iter().filter(|(_, note)| note.pk == own);
    notes.extend(change.map(|(id, note)| (*id, note.value)));
    Ok(built.id.to_string())
}

/// How faucets of devchain networks are asked.
pub(crate) struct FaucetClient;

#[async_trait]
impl Faucet for FaucetClient {
    async fn ask(
        &self,
        url: &str,
        credential: Option<&Credential>,
        owner: &Owner,
    ) -> StepResult<()> {
        let url = format!("{}/{owner}", url.trim_end_matches('/'));
        let mut request = http_client().post(&url).timeout(ANSWER_WITHIN);
        request = match credential {
            None => request,
            Some(Credential::Basic { user, password }) => {
                request.basic_auth(user, Some(password.expose()))
            }
            Some(Credential::Bearer(token)) => request.bearer_auth(token.expose()),
        };
        let answer = request.send().await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let words = answer.text().await?;
        Err(StepError::new(format!("{words} (status {status})")))
    }
}
