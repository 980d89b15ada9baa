//! Client: asks one node, once a call, and hands back what it answered.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Body as _, Bytes, Incoming},
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use super::{
    answer::HttpAnswer,
    config::{HttpAuth, HttpConfig, HttpConfigError, HttpLimits},
    failure,
    lines::{self, Lines},
    request::HttpRequest,
    tls,
};
use crate::error::{SourceError, SourceErrorKind};

/// Asks one node. A clone asks by the same connections.
#[derive(Clone)]
pub struct HttpClient {
    shared: Arc<Shared>,
}

struct Shared {
    config: HttpConfig,
    authorization: Option<HeaderValue>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl HttpClient {
    /// Nothing is asked yet.
    pub fn new(config: HttpConfig) -> Result<Self, HttpConfigError> {
        if !config.url.username().is_empty() || config.url.password().is_some() {
            return Err(HttpConfigError::CredentialInUrl);
        }
        let connector = tls::connector(&config)?;
        let idle_max = if config.keep_connections {
            usize::MAX
        } else {
            0
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(idle_max)
            .build(connector);
        let shared = Shared {
            authorization: authorization(&config.auth)?,
            client,
            config,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The same node by the same connections, asked by somebody else.
    pub fn with_auth(&self, auth: HttpAuth) -> Result<Self, HttpConfigError> {
        let shared = Shared {
            authorization: authorization(&auth)?,
            client: self.shared.client.clone(),
            config: HttpConfig {
                auth,
                ..self.shared.config.clone()
            },
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// What errors call the node.
    pub fn name(&self) -> &str {
        &self.shared.config.name
    }

    /// What a call may take.
    pub fn limits(&self) -> HttpLimits {
        self.shared.config.limits
    }

    /// Asks, and reads the whole answer, whatever its status but 401 and 403.
    ///
    /// # Cancel safety
    /// Dropping it drops the request; what it would have changed at the node may have happened.
    pub async fn send(&self, request: &HttpRequest) -> Result<HttpAnswer, SourceError> {
        self.send_within(self.limits().within, request).await
    }

    /// The same with a time limit of its own, for calls that wait at the node.
    ///
    /// # Cancel safety
    /// As of [`send`](Self::send).
    pub async fn send_within(
        &self,
        within: Duration,
        request: &HttpRequest,
    ) -> Result<HttpAnswer, SourceError> {
        let answer = async {
            let response = self.begin(request).await?;
            let status = response.status().as_u16();
            let body = read(response.into_body(), self.limits().answer_bytes_max).await?;
            Ok((status, body))
        };
        let answered = timeout(within, answer).await;
        match answered.unwrap_or(Err(SourceErrorKind::TimedOut { within })) {
            Ok((status, body)) => Ok(HttpAnswer {
                node: Arc::clone(&self.shared.config.name),
                call: request.to_string().into(),
                status,
                body,
            }),
            Err(kind) => Err(self.error(request, kind)),
        }
    }

    /// Asks for an answer that goes on, a line at a time. Success has begun to be read; any other
    /// status is answered as a whole.
    pub async fn lines(&self, request: &HttpRequest) -> Result<Lines, SourceError> {
        let HttpLimits {
            within,
            answer_bytes_max,
        } = self.limits();
        let begun = timeout(within, self.begin(request)).await;
        let response = begun
            .unwrap_or(Err(SourceErrorKind::TimedOut { within }))
            .map_err(|kind| self.error(request, kind))?;
        let call: Arc<str> = request.to_string().into();
        let node = Arc::clone(&self.shared.config.name);
        if response.status().is_success() {
            let body = response.into_body();
            let failed = move |kind| SourceError::new(Arc::clone(&node), Arc::clone(&call), kind);
            return Ok(Lines::Begun(lines::of(body, answer_bytes_max, failed)));
        }
        let status = response.status().as_u16();
        let body = timeout(within, read(response.into_body(), answer_bytes_max)).await;
        match body.unwrap_or(Err(SourceErrorKind::TimedOut { within })) {
            Ok(body) => Ok(Lines::Refused(HttpAnswer {
                node,
                call,
                status,
                body,
            })),
            Err(kind) => Err(self.error(request, kind)),
        }
    }

    /// The failure of `request`.
    pub fn error(&self, request: &HttpRequest, kind: SourceErrorKind) -> SourceError {
        SourceError::new(
            Arc::clone(&self.shared.config.name),
            request.to_string(),
            kind,
        )
    }

    async fn begin(&self, request: &HttpRequest) -> Result<Response<Incoming>, SourceErrorKind> {
        let url = request.url(&self.shared.config.url);
        let mut sent = Request::builder()
            .method(request.method.clone())
            .uri(url.as_str())
            .header(ACCEPT, "*/*");
        if let Some(header) = &self.shared.authorization {
            sent = sent.header(AUTHORIZATION, header);
        }
        if request.json.is_some() {
            sent = sent.header(CONTENT_TYPE, "application/json");
        }
        let body = request.json.clone().unwrap_or_default();
        let sent = sent
            .body(Full::from(body))
            .expect("an http address that was parsed is one of a request");
        let response = self.shared.client.request(sent).await;
        let response = response.map_err(failure::of_request)?;
        match response.status().as_u16() {
            status @ (401 | 403) => Err(SourceErrorKind::Unauthorised { status }),
            _ => Ok(response),
        }
    }
}

async fn read(mut body: Incoming, bytes_max: usize) -> Result<Vec<u8>, SourceErrorKind> {
    let too_large = SourceErrorKind::TooLarge {
        bytes_max: bytes_max as u64,
    };
    // A node that says how much will come need not send it.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large);
    }
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(failure::of_body)?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if read.len() + data.len() > bytes_max {
            return Err(too_large);
        }
        read.extend_from_slice(data);
    }
    Ok(read)
}

fn authorization(auth: &HttpAuth) -> Result<Option<HeaderValue>, HttpConfigError> {
    let value = match auth {
        HttpAuth::None => return Ok(None),
        HttpAuth::Basic { user, password } => {
            format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
        }
        HttpAuth::Bearer(token) => format!("Bearer {token}"),
    };
    let mut header = HeaderValue::try_from(value).map_err(|_| HttpConfigError::Credential)?;
    header.set_sensitive(true);
    Ok(Some(header))
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}
