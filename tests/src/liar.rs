//! Liar: a front for a node that changes what the node says. Who asks there is lied to, and the node itself knows nothing of it.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderName, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use trellis_steps::{StepResult, outsiders::Lie};

use crate::etcd_kv::http_client;

/// A header of a Bitcoin-family chain in hexadecimal digits has so many of them.
const HEADER_DIGITS: usize = 160;
/// One of the digits that say when the block was made.
const TIME_DIGIT: usize = 140;
/// What of a question is passed on.
const PASSED: [HeaderName; 2] = [header::AUTHORIZATION, header::CONTENT_TYPE];

/// A front that lies. It ends when it is dropped.
pub(crate) struct Liar {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

struct Front {
    http: reqwest::Client,
    node: String,
    lie: Lie,
}

impl Liar {
    /// A front for the node that answers at `node`, without a slash at its end.
    pub(crate) async fn start(node: String, lie: Lie) -> StepResult<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let front = Front {
            http: http_client(),
            node,
            lie,
        };
        let router = Router::new().fallback(pass).with_state(Arc::new(front));
        let serving = tokio::spawn(async move {
            // It serves until it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, serving })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(
    State(front): State<Arc<Front>>,
    method: Method,
    uri: Uri,
    headers: axum::http::HeaderMap,
    question: Bytes,
) -> Response {
    // A stream never ends, and nobody needs one here.
    if uri.path().contains("stream") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut request = front.http.request(method, format!("{}{uri}", front.node));
    for name in PASSED {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let answered = async {
        let answer = request.body(question).send().await?;
        let status = answer.status();
        Ok::<_, reqwest::Error>((status, answer.bytes().await?))
    };
    match answered.await {
        Ok((status, said)) => (status, Body::from(front.lie_about(&said))).into_response(),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}

impl Front {
    fn lie_about(&self, said: &Bytes) -> Bytes {
        let Ok(mut said_in_json) = serde_json::from_slice::<Value>(said) else {
            return said.clone();
        };
        change(self.lie, &mut said_in_json);
        said_in_json.to_string().into()
    }
}

fn change(lie: Lie, said: &mut Value) {
    match said {
        Value::Object(members) => {
            if let Lie::HigherBy(blocks) = lie {
                let (logos, bitcoin) = (
                    members.contains_key("tip"),
                    members.contains_key("bestblockhash"),
                );
                for (name, is_head) in [("height", logos), ("blocks", bitcoin)] {
                    let height = members.get(name).and_then(Value::as_u64);
                    if let Some(height) = height.filter(|_| is_head) {
                        members.insert(name.to_owned(), (height + blocks).into());
                    }
                }
            }
            members.values_mut().for_each(|value| change(lie, value));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| change(lie, item)),
        Value::String(text) if lie == Lie::ForgedHeaders && text.len() == HEADER_DIGITS => {
            let other = if text[TIME_DIGIT..].starts_with('0') {
                "1"
            } else {
                "0"
            };
            text.replace_range(TIME_DIGIT..=TIME_DIGIT, other);
        }
        _ => {}
    }
}
