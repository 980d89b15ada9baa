//! HTTP: one request and its answer, without any waiting or trying again.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Client, RequestBuilder, Response, StatusCode, Url,
    header::{HeaderMap, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};
use serde::de::DeserializeOwned;

use super::{ConfigStatus, error::ClientError, limits::ClientLimits};
use crate::{BearerToken, ErrorBody, NodeRegistration};

/// Of the body of a refusal; sentences are shorter.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// The way to one server.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    /// `None` for one with a user or password in it, which nothing may print.
    base_url: Option<String>,
    limits: ClientLimits,
    token: Option<BearerToken>,
    client: Result<Client, Arc<reqwest::Error>>,
}

/// An answer to `POST /node`.
pub(crate) struct Answer {
    pub(crate) status: ConfigStatus,
    /// Whether the server held the request as it was asked to.
    pub(crate) held: bool,
    /// When a server that did not would be asked again.
    pub(crate) retry_after: Option<Duration>,
}

impl Http {
    pub(crate) fn new(base_url: String) -> Self {
        let limits = ClientLimits::default();
        Self {
            client: client(&limits),
            limits,
            base_url: (!has_credentials(&base_url)).then_some(base_url),
            token: None,
        }
    }

    pub(crate) fn with_limits(self, limits: ClientLimits) -> Self {
        Self {
            client: client(&limits),
            limits,
            ..self
        }
    }

    pub(crate) fn with_token(self, token: BearerToken) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }

    pub(crate) fn limits(&self) -> &ClientLimits {
        &self.limits
    }

    /// `POST /register`.
    pub(crate) async fn register(
        &self,
        registration: &NodeRegistration,
    ) -> Result<(), ClientError> {
        let request = self.post("register", registration)?;
        let response = self.send(request, Duration::ZERO).await?;
        if response.status().is_success() {
            return Ok(());
        }
        match self.refusal(response).await? {
            Refusal::Unknown(message) => Err(ClientError::UnknownNode {
                identifier: registration.identifier.clone(),
                message,
            }),
            Refusal::NotReady(message) => Err(ClientError::NotReady {
                identifier: registration.identifier.clone(),
                message,
            }),
        }
    }

    /// `POST /node`, held for as long as `hold` says.
    pub(crate) async fn node(
        &self,
        registration: &NodeRegistration,
        hold: Option<Duration>,
    ) -> Result<Answer, ClientError> {
        let mut request = self.post("node", registration)?;
        if let Some(hold) = hold {
            request = request.header("prefer", format!("wait={}", hold.as_secs()));
        }
        let response = self.send(request, hold.unwrap_or_default()).await?;
        let held = response.headers().contains_key("preference-applied");
        let retry_after = seconds(response.headers());
        let status = if response.status() == StatusCode::OK {
            ConfigStatus::Ready(self.json(response, self.limits.body_bytes_max).await?)
        } else {
            match self.refusal(response).await? {
                Refusal::NotReady(message) => ConfigStatus::NotReady { message },
                Refusal::Unknown(message) => ConfigStatus::Missing { message },
            }
        };
        Ok(Answer {
            status,
            held,
            retry_after,
        })
    }

    fn post(
        &self,
        path: &str,
        registration: &NodeRegistration,
    ) -> Result<RequestBuilder, ClientError> {
        let client = self.client.as_ref().map_err(|source| {
            let source = Arc::clone(source);
            ClientError::Unusable { source }
        })?;
        let request = client.post(self.url(path)?).json(registration);
        let Some(token) = &self.token else {
            return Ok(request);
        };
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
            .map_err(|_| ClientError::Token)?;
        value.set_sensitive(true);
        Ok(request.header("authorization", value))
    }

    fn url(&self, path: &str) -> Result<Url, ClientError> {
        let base_url = self.base_url.as_ref().ok_or(ClientError::Credentials)?;
        let refused = |problem: String| ClientError::Url {
            url: base_url.clone(),
            problem,
        };
        let mut url = Url::parse(base_url).map_err(|error| refused(error.to_string()))?;
        if url.scheme() != "http" {
            return Err(refused(format!(
                "it is reached over http, not {}",
                url.scheme()
            )));
        }
        url.set_query(None);
        url.path_segments_mut()
            .expect("every http URL has a path")
            .pop_if_empty()
            .push(path);
        Ok(url)
    }

    /// The URL for messages. Only one without credentials gets as far as a request.
    fn shown(&self) -> String {
        self.base_url.clone().unwrap_or_default()
    }

    async fn send(&self, request: RequestBuilder, held: Duration) -> Result<Response, ClientError> {
        let request = request.timeout(held + self.limits.answer_within);
        request.send().await.map_err(|source| {
            let url = self.shown();
            if source.is_connect() {
                ClientError::Unreachable { url, source }
            } else {
                ClientError::Interrupted { url, source }
            }
        })
    }

    /// What an answer that is no success says to a node; an error where it says nothing to one that waits.
    async fn refusal(&self, response: Response) -> Result<Refusal, ClientError> {
        let status = response.status();
        let read = self.json(response, REFUSAL_BYTES_MAX).await;
        // What stands in front of a server answers in its own words when the server is away.
        let ErrorBody { code, message } = match read {
            Err(ClientError::Foreign { problem, .. }) if status.is_server_error() => ErrorBody {
                code: String::new(),
                message: problem,
            },
            read => read?,
        };
        match status {
            StatusCode::TOO_EARLY => Ok(Refusal::NotReady(message)),
            StatusCode::NOT_FOUND if code == "unknown_node" => Ok(Refusal::Unknown(message)),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Err(ClientError::Busy { code, message })
            }
            status if status.is_server_error() => Err(ClientError::Server {
                status: status.as_u16(),
                message,
            }),
            status => Err(ClientError::Refused {
                status: status.as_u16(),
                code,
                message,
            }),
        }
    }

    async fn json<T: DeserializeOwned>(
        &self,
        response: Response,
        limit: usize,
    ) -> Result<T, ClientError> {
        let status = response.status().as_u16();
        let body = self.body(response, limit).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Foreign {
            url: self.shown(),
            status,
            problem: error.to_string(),
        })
    }

    async fn body(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|source| {
            let url = self.shown();
            ClientError::Interrupted { url, source }
        })? {
            if body.len() + chunk.len() > limit {
                return Err(ClientError::TooLarge { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

enum Refusal {
    NotReady(String),
    Unknown(String),
}

fn client(limits: &ClientLimits) -> Result<Client, Arc<reqwest::Error>> {
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(limits.connect_within)
        .build()
        .map_err(Arc::new)
}

fn seconds(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    value.parse().ok().map(Duration::from_secs)
}

/// Whether `url` has a user or password in it, or may have: one that is no URL and has an `@`.
fn has_credentials(url: &str) -> bool {
    match Url::parse(url) {
        Ok(url) => !url.username().is_empty() || url.password().is_some(),
        Err(_) => url.contains('@'),
    }
}
