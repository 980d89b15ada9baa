//! A node that runs, asked over HTTP.

use std::{
    error::Error,
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{
    Client, Method, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::with_causes;
use crate::{
    settings::{Secret, Settings},
    shards::ShardId,
};

/// In the folder of the store, where the node that owns it answers.
const ADDRESS_FILE: &str = "http.address";

/// Notes where the node answers whose folder is `storage`. The note goes when this is dropped.
pub(super) struct AddressNote {
    file: PathBuf,
}

impl AddressNote {
    pub(super) fn write(storage: &Path, address: SocketAddr) -> io::Result<Self> {
        fs::create_dir_all(storage)?;
        let file = storage.join(ADDRESS_FILE);
        // In one step, so that nobody reads half of it.
        let unfinished = storage.join(format!("{ADDRESS_FILE}.new"));
        fs::write(&unfinished, reachable(address).to_string())?;
        fs::rename(&unfinished, &file)?;
        Ok(Self { file })
    }
}

impl Drop for AddressNote {
    fn drop(&mut self) {
        // A note that stays is read only while somebody owns the store, who writes it anew.
        let _ = fs::remove_file(&self.file);
    }
}

/// Where an address can be asked at from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        return SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port());
    }
    address
}

/// A node that answers at an address, or should.
pub(super) struct Remote {
    url: String,
    client: Client,
}

impl Remote {
    pub(super) fn at(
        url: &str,
        operator: Option<&Secret>,
        within: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let url = url.trim_end_matches('/');
        let url = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let mut headers = HeaderMap::new();
        if let Some(token) = operator {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|_| "operator_token has characters that HTTP cannot send")?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder().default_headers(headers).timeout(within);
        let client = client.build()?;
        Ok(Self { url, client })
    }

    /// The node whose folder is `folder`, or would be.
    pub(super) fn of(
        folder: &Path,
        settings: &Settings,
        within: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let operator = settings.operator_token.as_ref();
        let noted = fs::read_to_string(folder.join(ADDRESS_FILE));
        match (noted, settings.http_listen) {
            (Ok(address), _) => Self::at(&address, operator, within),
            (Err(_), Some(address)) => Self::at(&reachable(address).to_string(), operator, within),
            (Err(_), None) => Err("the node answers no HTTP, since http_listen is none".into()),
        }
    }

    /// What it answers for one of its shards.
    pub(super) fn of_shard(self, shard: ShardId) -> Self {
        let url = format!("{}/shards/{shard}", self.url);
        Self { url, ..self }
    }

    /// Where it answers.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What is answered to `method` at `path`, whatever its status.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
    ) -> Result<(StatusCode, Value), Box<dyn Error>> {
        self.send(method, path, None).await
    }

    /// The same with a body.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Box<dyn Error>> {
        let url = format!("{}{path}", self.url);
        let mut request = self.client.request(method, &url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let asked = request.send().await;
        let answer = asked.map_err(|error| {
            format!(
                "no node answers at {}; is it running, and is that its http_listen? ({})",
                self.url,
                with_causes(&error.without_url())
            )
        })?;
        let status = answer.status();
        let body = answer.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// What is answered where that is no error.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, Box<dyn Error>> {
        let (status, body) = self.ask(method, path).await?;
        if status.is_success() {
            return Ok(serde_json::from_value(body)?);
        }
        Err(match body["message"].as_str() {
            Some(message) => message.into(),
            None => format!(
                "{}{path} answers {status}: is that a projection node?",
                self.url
            )
            .into(),
        })
    }
}

/// `text` as a part of a path.
pub(super) fn in_path(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~@".contains(&byte) {
            escaped.push(byte.into());
        } else {
            escaped.push('%');
            escaped.push_str(&crate::hex::hex(&[byte]));
        }
    }
    escaped
}
