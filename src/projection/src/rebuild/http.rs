//! HTTP of rebuilds: what goes on, and what a node that runs is asked for; and the other end of it, for commands that find the store owned.
//!
//! Who may ask is said in `http`.

use std::time::Duration;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::{Command, Cutover, Done, NodeHandle, Progress, RebuildError};
use crate::{http::ApiError, settings::Secret, storage::StorageError, types::Generations};

/// Where it is.
pub const PATH: &str = "/rebuild";

/// What goes on in a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rebuilds {
    /// The generations of each type.
    pub types: Vec<TypeRebuilds>,
    /// What is made, and what is over.
    pub progress: Vec<Progress>,
    /// Whether an operator decides when a generation is served.
    #[serde(default)]
    pub cutover_by_command: bool,
}

/// The generations of one type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TypeRebuilds {
    /// The type.
    pub view_type: String,
    /// Its generations.
    pub generations: Generations,
}

/// `GET` shows what goes on, and `POST` of a [`Command`] asks for something.
pub fn routes(node: NodeHandle) -> Router {
    Router::new()
        .route(PATH, get(show).post(ask))
        .with_state(node)
}

async fn show(State(node): State<NodeHandle>) -> Result<Json<Rebuilds>, ApiError> {
    let generations = node.generations().map_err(|error| answer(&error))?;
    let types = generations
        .into_iter()
        .map(|(view_type, generations)| TypeRebuilds {
            view_type,
            generations,
        });
    Ok(Json(Rebuilds {
        types: types.collect(),
        progress: node.progress().borrow().clone(),
        cutover_by_command: node.cutover() == Cutover::Command,
    }))
}

async fn ask(
    State(node): State<NodeHandle>,
    Json(command): Json<Command>,
) -> Result<Json<Done>, ApiError> {
    tracing::info!(?command, "asked for");
    let done = node.ask(command).await.map_err(|error| answer(&error))?;
    Ok(Json(done))
}

fn answer(error: &RebuildError) -> ApiError {
    let message = error.to_string();
    match error {
        RebuildError::Unknown { .. } | RebuildError::NoGeneration { .. } => {
            ApiError::not_found(message)
        }
        // Its next owner can be asked soon.
        RebuildError::NodeEnded
        | RebuildError::Stream(_)
        | RebuildError::Storage(StorageError::Fenced { .. }) => ApiError::unavailable(message),
        RebuildError::Storage(error) if error.is_transient() => ApiError::unavailable(message),
        RebuildError::Storage(_) => ApiError::internal(message),
        _ => ApiError::conflict(message),
    }
}

/// Why a node that runs was not asked, or what it said.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// It was not reached.
    #[error("no node answers at {url}; is its http_listen another one? name it with --node")]
    Unreachable {
        /// Where.
        url: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// Nobody answers for the shard at the moment.
    #[error("{message}")]
    Away {
        /// What was said.
        message: String,
    },
    /// It does not do it.
    #[error("{message}")]
    Refused {
        /// What it said.
        message: String,
    },
}

/// A node that runs, from outside.
#[derive(Debug, Clone)]
pub struct Remote {
    client: reqwest::Client,
    url: String,
    operator: Option<Secret>,
}

impl Remote {
    /// How long a node may take to answer. It makes what takes longer beside.
    const ANSWERS_WITHIN: Duration = Duration::from_mins(1);

    /// The node that answers at `base`, such as `http://127.0.0.1:8090`.
    pub fn at(base: &str) -> Self {
        Self {
            client: reqwest::Client::new(),
            url: format!("{}{PATH}", base.trim_end_matches('/')),
            operator: None,
        }
    }

    /// The same with the token by which it knows operators.
    #[must_use]
    pub fn as_operator(self, token: Option<&Secret>) -> Self {
        let operator = token.cloned();
        Self { operator, ..self }
    }

    /// What goes on there.
    ///
    /// # Errors
    /// It was not reached, or does not answer that.
    pub async fn show(&self) -> Result<Rebuilds, RemoteError> {
        self.answer(self.client.get(&self.url)).await
    }

    /// Asks it for something.
    ///
    /// # Errors
    /// It was not reached, or refuses.
    pub async fn ask(&self, command: &Command) -> Result<Done, RemoteError> {
        self.answer(self.client.post(&self.url).json(command)).await
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, RemoteError> {
        #[derive(Deserialize)]
        struct Refusal {
            message: String,
        }
        let unreachable = |source| RemoteError::Unreachable {
            url: self.url.clone(),
            source,
        };
        let request = match &self.operator {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        };
        let request = request.timeout(Self::ANSWERS_WITHIN);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        let passes = matches!(
            status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::MISDIRECTED_REQUEST
        );
        let refused = |message: String| {
            if passes {
                RemoteError::Away { message }
            } else {
                RemoteError::Refused { message }
            }
        };
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                refused(format!(
                    "{} does not answer as a node does: {error}",
                    self.url
                ))
            });
        }
        Err(match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => refused(refusal.message),
            Err(_) => refused(format!("{} answers {status}", self.url)),
        })
    }
}
