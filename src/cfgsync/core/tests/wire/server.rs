//! Servers that tests start and stop, and the requests that they send.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use cfgsync_core::{
    CfgsyncClient, CfgsyncServerState, NodeConfigSource, NodeRegistration, bind_loopback,
    serve_cfgsync,
};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::{
    sync::oneshot,
    task::{JoinHandle, yield_now},
    time::timeout,
};

/// Far more than anything here needs.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: CfgsyncServerState,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub(crate) async fn of(source: Arc<dyn NodeConfigSource>) -> Self {
        Self::start(CfgsyncServerState::new(source), 0).await
    }

    pub(crate) async fn start(state: CfgsyncServerState, port: u16) -> Self {
        let listener = bind_loopback(port).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let task = tokio::spawn(serve_cfgsync(listener, state.clone(), shutdown));
        Self {
            address,
            state,
            stop: Some(stop),
            task,
        }
    }

    /// Ends it as an operator does.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        let ended = timeout(SOON, self.task).await;
        ended.expect("the server ends").unwrap().unwrap();
    }

    /// Ends it as a power cut does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let ended = self.task.await.expect_err("it was still serving");
        assert!(ended.is_cancelled());
    }

    /// Until it holds `count` requests.
    pub(crate) async fn holds(&self, count: usize) {
        let reached = async {
            while self.state.held() != count {
                yield_now().await;
            }
        };
        timeout(SOON, reached).await.expect("it holds them");
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn client(&self) -> CfgsyncClient {
        CfgsyncClient::new(self.url())
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Response {
        http()
            .post(format!("{}{path}", self.url()))
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .unwrap()
    }
}

pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(SOON)
        .build()
        .unwrap()
}

pub(crate) fn node(name: &str) -> NodeRegistration {
    at(name, "10.0.0.1")
}

pub(crate) fn at(name: &str, ip: &str) -> NodeRegistration {
    NodeRegistration::new(name, ip.parse::<IpAddr>().unwrap())
}

pub(crate) fn json(registration: &NodeRegistration) -> String {
    serde_json::to_string(registration).unwrap()
}

/// The word and the sentence of an answer that is exactly an error body.
#[track_caller]
pub(crate) fn refusal(response: Response, status: u16) -> impl Future<Output = (String, String)> {
    assert_eq!(response.status(), StatusCode::from_u16(status).unwrap());
    assert_eq!(response.headers()["content-type"], "application/json");
    async {
        let body: Value = response.json().await.unwrap();
        let fields = body.as_object().unwrap();
        assert_eq!(fields.len(), 2, "{body}");
        let text = |name: &str| fields[name].as_str().unwrap().to_owned();
        (text("code"), text("message"))
    }
}
