//! Client: requests to one Logos node, and what their statuses mean.
//!
//! The calls by name are in `chain_calls`, `network_calls` and `wallet_calls`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, de::DeserializeOwned};

use super::info::Generation;
use crate::{
    error::{SourceError, SourceErrorKind},
    http::{HttpAnswer, HttpClient, HttpConfig, HttpConfigError, HttpRequest},
    id::BlockId,
};

/// The HTTP of one Logos node. A clone asks the same node, by the same connections, and knows what
/// the other learns of it.
#[derive(Clone, Debug)]
pub struct LogosHttp {
    pub(super) http: HttpClient,
    known: Arc<Mutex<Known>>,
}

/// What was learnt of a node. It may come back as another version: what no longer fits is learnt
/// anew.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) generation: Option<Generation>,
    /// How it is asked for one block.
    pub(super) one_block: Option<OneBlock>,
    pub(super) genesis: Option<BlockId>,
}

/// How a node is asked for one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OneBlock {
    /// `GET /cryptarchia/blocks/:id`.
    ById,
    /// `POST /storage/block`.
    FromStorage,
}

/// An answer, or that there is no such path.
pub(super) enum Asked {
    Answered(HttpAnswer),
    NoSuchPath,
}

impl LogosHttp {
    /// Nothing is asked yet.
    pub fn new(config: HttpConfig) -> Result<Self, HttpConfigError> {
        Ok(Self {
            http: HttpClient::new(config)?,
            known: Arc::default(),
        })
    }

    /// What errors call the node.
    pub fn name(&self) -> &str {
        self.http.name()
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `request` is answered with, when that is a success.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        request: &HttpRequest,
    ) -> Result<T, SourceError> {
        self.successful(request).await?.json()
    }

    pub(super) async fn successful(
        &self,
        request: &HttpRequest,
    ) -> Result<HttpAnswer, SourceError> {
        match self.ask(request).await? {
            Asked::Answered(answer) => successful(answer),
            Asked::NoSuchPath => Err(self.unsupported(request)),
        }
    }

    /// The same, and nothing where the node has no such path.
    pub(super) async fn call_if_there<T: DeserializeOwned>(
        &self,
        request: &HttpRequest,
    ) -> Result<Option<T>, SourceError> {
        match self.ask(request).await? {
            Asked::Answered(answer) => successful(answer)?.json().map(Some),
            Asked::NoSuchPath => Ok(None),
        }
    }

    pub(super) async fn ask(&self, request: &HttpRequest) -> Result<Asked, SourceError> {
        let answer = self.http.send(request).await?;
        if is_no_path(&answer) {
            return Ok(Asked::NoSuchPath);
        }
        Ok(Asked::Answered(answer))
    }

    pub(super) fn unsupported(&self, request: &HttpRequest) -> SourceError {
        self.http.error(request, SourceErrorKind::Unsupported)
    }
}

/// Whether the answer is the one to paths that a node does not have: 404 without a word, or 405
/// where the path has another method.
pub(super) fn is_no_path(answer: &HttpAnswer) -> bool {
    match answer.status() {
        404 => answer.body().trim_ascii().is_empty(),
        405 => true,
        _ => false,
    }
}

pub(super) fn successful(answer: HttpAnswer) -> Result<HttpAnswer, SourceError> {
    if answer.is_success() {
        return Ok(answer);
    }
    Err(answer.error(node_error(&answer)))
}

/// What a node says of its failure: an object in newer ones, a text in older ones.
pub(super) fn node_error(answer: &HttpAnswer) -> SourceErrorKind {
    #[derive(Deserialize)]
    struct Failure {
        code: i64,
        message: String,
    }
    if let Ok(Failure { code, message }) = answer.json() {
        return SourceErrorKind::Node { code, message };
    }
    let message = match answer.snippet() {
        empty if empty.trim().is_empty() => "an HTTP status and no words".to_owned(),
        text => text,
    };
    let code = i64::from(answer.status());
    SourceErrorKind::Node { code, message }
}
