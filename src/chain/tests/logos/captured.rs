//! Captured: a server that gives the answers of one form of the wire, and says what it was asked.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use tokio::{net::TcpListener, task::JoinHandle};
use trellis_chain::{
    http::{HttpConfig, HttpLimits},
    logos::LogosSource,
};

/// Ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Answers {
    answers: Arc<HashMap<String, Answer>>,
    asked: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    content_type: String,
    body: String,
}

impl Server {
    /// Answers as the nodes of this form do.
    pub(crate) async fn of(form: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captured");
        let text = std::fs::read_to_string(folder.join(form).join("answers.http")).unwrap();
        Self::answering(&text).await
    }

    /// Gives these answers, in the form of the captured ones.
    pub(crate) async fn answering(text: &str) -> Self {
        let asked = Arc::default();
        let answers = Answers {
            answers: Arc::new(read(&expanded(text))),
            asked: Arc::clone(&asked),
        };
        let router = Router::new().fallback(answer).with_state(answers);
        let mut server = Self::with(router).await;
        server.asked = asked;
        server
    }

    /// Answers as `router` does.
    pub(crate) async fn with(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = axum::serve(listener, router).into_future();
        Self {
            address,
            task: tokio::spawn(async move { serve.await.unwrap() }),
            asked: Arc::default(),
        }
    }

    /// What it was asked so far: method and path, with query and body.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn config(&self) -> HttpConfig {
        let url = format!("http://{}", self.address).parse().unwrap();
        let mut config = HttpConfig::new("NODE_1", url);
        config.limits = HttpLimits {
            within: Duration::from_secs(10),
            answer_bytes_max: 100_000,
        };
        config
    }

    pub(crate) fn source(&self) -> LogosSource {
        LogosSource::new(self.config()).unwrap()
    }
}

async fn answer(State(answers): State<Answers>, method: Method, uri: Uri, body: Bytes) -> Response {
    let path = uri.path_and_query().unwrap();
    let bare = format!("{method} {path}");
    let with_body = format!("{bare} {}", String::from_utf8_lossy(&body));
    answers
        .asked
        .lock()
        .unwrap()
        .push(with_body.trim_end().to_owned());
    let known = &answers.answers;
    match known.get(with_body.trim_end()).or_else(|| known.get(&bare)) {
        Some(answer) => {
            let Answer {
                status,
                content_type,
                body,
            } = answer.clone();
            (status, [(CONTENT_TYPE, content_type)], body).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn read(text: &str) -> HashMap<String, Answer> {
    let read = |part: &str| {
        let (request, rest) = part.split_once('\n').unwrap();
        let (status, body) = rest.split_once('\n').unwrap();
        let (status, content_type) = status.split_once(' ').unwrap();
        let answer = Answer {
            status: status.parse().unwrap(),
            content_type: content_type.to_owned(),
            body: body.trim_end().to_owned(),
        };
        (request.trim().to_owned(), answer)
    };
    text.split("### ").skip(1).map(read).collect()
}

/// The text with its ids at full length: `63d91fdd..f100` is what it begins and ends with.
pub(crate) fn expanded(text: &str) -> String {
    let hex = |c: char| c.is_ascii_hexdigit();
    let mut parts = text.split("..");
    let mut full = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let before = full.len() - full.trim_end_matches(hex).len();
        let after = part.len() - part.trim_start_matches(hex).len();
        if before == 8 && after == 4 {
            full.push_str(&"0".repeat(64 - before - after));
        } else {
            full.push_str("..");
        }
        full.push_str(part);
    }
    full
}

/// The id that is written like this in the answers.
pub(crate) fn id<T: FromStr>(short: &str) -> T {
    let full = expanded(short).parse();
    full.unwrap_or_else(|_| panic!("{short} is no id"))
}
