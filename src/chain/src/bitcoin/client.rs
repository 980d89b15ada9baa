//! Client: calls and batches of calls to one node, with bounds on time and on size.
//!
//! The calls by name are in `chain_calls`, `network_calls` and `wallet_calls`; who asks is in
//! `auth`, how an answer reads in `reply`.

use std::{fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::{Value, json, value::RawValue};
use url::Url;

use super::{
    auth::{Access, RpcAuth},
    reply::{self, Reply, RpcFailure},
};
use crate::{
    error::{SourceError, SourceErrorKind},
    http::{HttpAnswer, HttpConfig, HttpConfigError, HttpLimits, HttpRequest, HttpRoots, decode},
};

/// What one call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcLimits {
    /// How long an answer may take. Calls that wait add what they wait.
    pub within: Duration,
    /// What is read of an answer at most.
    pub answer_bytes_max: usize,
    /// Calls in one batch. A batch is one unit of work to a node, however long.
    pub batch_calls_max: usize,
    /// Blocks with transactions in one batch. Fewer are asked for where they are too large.
    pub batch_blocks_max: usize,
}

impl Default for RpcLimits {
    /// Ten seconds, 64 MiB, 200 calls, 32 blocks.
    fn default() -> Self {
        Self {
            within: Duration::from_secs(10),
            answer_bytes_max: 64 << 20,
            batch_calls_max: 200,
            batch_blocks_max: 32,
        }
    }
}

/// Where a node is, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcConfig {
    /// What errors call the node.
    pub name: Arc<str>,
    /// Where it answers.
    pub url: Url,
    /// Who asks.
    pub auth: RpcAuth,
    /// Whose certificates are believed, when `url` is `https`.
    pub roots: HttpRoots,
    /// What a call may take.
    pub limits: RpcLimits,
}

impl RpcConfig {
    /// A node with the default limits.
    pub fn new(name: impl Into<Arc<str>>, url: Url, auth: RpcAuth) -> Self {
        Self {
            name: name.into(),
            url,
            auth,
            roots: HttpRoots::System,
            limits: RpcLimits::default(),
        }
    }
}

/// The JSON-RPC of one node. A clone asks the same node by the same connections.
#[derive(Clone)]
pub struct BitcoinRpc {
    shared: Arc<Shared>,
    /// The wallet that calls are for.
    wallet: Option<Arc<str>>,
}

struct Shared {
    config: RpcConfig,
    access: Access,
}

/// One call of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcCall {
    /// As the node calls it.
    pub method: &'static str,
    /// By position.
    pub params: Value,
}

/// What came of one call of a batch.
pub type RpcAnswer = Result<Box<RawValue>, RpcFailure>;

impl BitcoinRpc {
    /// Nothing is asked yet. Connections are not kept: a node that is told to end waits for its
    /// clients to hang up, for half a minute.
    pub fn new(config: RpcConfig) -> Result<Self, HttpConfigError> {
        let http = HttpConfig {
            roots: config.roots.clone(),
            limits: HttpLimits {
                within: config.limits.within,
                answer_bytes_max: config.limits.answer_bytes_max,
            },
            keep_connections: false,
            ..HttpConfig::new(Arc::clone(&config.name), config.url.clone())
        };
        let shared = Shared {
            access: Access::new(config.auth.clone(), http)?,
            config,
        };
        Ok(Self {
            shared: Arc::new(shared),
            wallet: None,
        })
    }

    /// The same node, asked for one of its wallets.
    #[must_use]
    pub fn wallet(&self, name: impl Into<Arc<str>>) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            wallet: Some(name.into()),
        }
    }

    /// What errors call the node.
    pub fn name(&self) -> &str {
        &self.shared.config.name
    }

    /// What a call may take.
    pub fn limits(&self) -> RpcLimits {
        self.shared.config.limits
    }

    /// Asks `method` with `params`, an array.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, SourceError> {
        self.call_within(self.limits().within, method, params).await
    }

    /// The same with a time limit of its own, for calls that wait.
    pub async fn call_within<T: DeserializeOwned>(
        &self,
        within: Duration,
        method: &str,
        params: Value,
    ) -> Result<T, SourceError> {
        let request = json!({"jsonrpc": "2.0", "id": 0, "method": method, "params": params});
        let answered = async {
            let answer = self.post(request, within).await?;
            let result = match Reply::of(answer.body()) {
                Ok(reply) => reply.into_result()?,
                Err(shape) => return Err(not_json_rpc(&answer, shape)),
            };
            decode(result.get().as_bytes())
        };
        answered.await.map_err(|kind| self.error(method, kind))
    }

    /// Asks all `calls`, in as few batches as the limits allow. The answers are in the order of
    /// the calls; one that fails is no failure of the batch.
    pub async fn batch(&self, calls: &[RpcCall]) -> Result<Vec<RpcAnswer>, SourceError> {
        let limit = self.limits().batch_calls_max;
        self.batch_by(calls, limit).await
    }

    /// The same with a limit of its own, for calls with large answers.
    pub(super) async fn batch_by(
        &self,
        calls: &[RpcCall],
        calls_max: usize,
    ) -> Result<Vec<RpcAnswer>, SourceError> {
        let mut answers = Vec::with_capacity(calls.len());
        for calls in calls.chunks(calls_max.max(1)) {
            let answered = self.one_batch(calls).await;
            let call = || format!("{} (batch of {})", calls[0].method, calls.len());
            answers.extend(answered.map_err(|kind| self.error(&call(), kind))?);
        }
        Ok(answers)
    }

    async fn one_batch(&self, calls: &[RpcCall]) -> Result<Vec<RpcAnswer>, SourceErrorKind> {
        let numbered = calls.iter().enumerate();
        let request = numbered.map(|(id, call)| {
            let RpcCall { method, params } = call;
            json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        });
        let within = self.limits().within;
        let answer = self.post(request.collect(), within).await?;
        reply::batch(answer.body(), calls.len()).map_err(|kind| not_json_rpc(&answer, kind))
    }

    /// The answer to `request`, whatever its HTTP status.
    async fn post(&self, request: Value, within: Duration) -> Result<HttpAnswer, SourceErrorKind> {
        let path = match &self.wallet {
            Some(wallet) => format!("/wallet/{wallet}"),
            None => "/".to_owned(),
        };
        let request = HttpRequest::post(path, request.to_string());
        self.shared.access.send(within, &request).await
    }

    pub(super) fn error(&self, call: &str, kind: SourceErrorKind) -> SourceError {
        let call = match &self.wallet {
            Some(wallet) => format!("{call} (wallet {wallet})"),
            None => call.to_owned(),
        };
        SourceError::new(Arc::clone(&self.shared.config.name), call, kind)
    }

    /// What `answer` of a batch says, or the error that it is.
    pub(super) fn decoded<T: DeserializeOwned>(
        &self,
        method: &str,
        answer: RpcAnswer,
    ) -> Result<T, SourceError> {
        let result = answer.map_err(|failure| self.error(method, failure.into()))?;
        self.read(method, &result)
    }

    /// What `result` says.
    pub(super) fn read<T: DeserializeOwned>(
        &self,
        method: &str,
        result: &RawValue,
    ) -> Result<T, SourceError> {
        decode(result.get().as_bytes()).map_err(|kind| self.error(method, kind))
    }
}

impl fmt::Debug for BitcoinRpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BitcoinRpc")
            .field("config", &self.shared.config)
            .field("wallet", &self.wallet)
            .finish_non_exhaustive()
    }
}

impl RpcCall {
    /// `method` with `params`, an array.
    pub fn new(method: &'static str, params: Value) -> Self {
        Self { method, params }
    }
}

/// What an answer is that JSON-RPC has no form for: a refusal in HTTP, as when the node has too
/// much to do, or not from such a node at all.
fn not_json_rpc(answer: &HttpAnswer, shape: SourceErrorKind) -> SourceErrorKind {
    if answer.is_success() || !matches!(shape, SourceErrorKind::WrongShape { .. }) {
        return shape;
    }
    let message = match answer.snippet() {
        empty if empty.trim().is_empty() => "an HTTP status and no words".to_owned(),
        text => text,
    };
    let code = i64::from(answer.status());
    SourceErrorKind::Node { code, message }
}
