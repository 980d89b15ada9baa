//! Transport: a request to one node over HTTP, and its answer, with bounds on time and on size.
//!
//! Statuses mean nothing here: what they say beside the body is the client's.

use std::{sync::Arc, time::Duration};

use url::Url;

use super::client::RpcConfig;
use crate::error::SourceErrorKind;

/// POSTs to one node.
pub(super) struct Http {
    client: reqwest::Client,
    url: Url,
    bytes_max: u64,
}

impl Http {
    pub(super) fn new(config: &RpcConfig) -> Self {
        // A node that is told to end waits for clients to hang up, for half a minute: connections
        // that are kept for later would keep it.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0);
        let client = client.build().expect("a client without TLS can be made");
        Self {
            client,
            url: config.url.clone(),
            bytes_max: config.limits.answer_bytes_max,
        }
    }

    /// Status and body of the answer to `request`, for a wallet of the node or for itself.
    pub(super) async fn post(
        &self,
        wallet: Option<&str>,
        authorization: Option<&str>,
        request: &str,
        within: Duration,
    ) -> Result<(u16, Vec<u8>), SourceErrorKind> {
        let mut url = self.url.clone();
        if let (Some(wallet), Ok(mut path)) = (wallet, url.path_segments_mut()) {
            path.pop_if_empty().extend(["wallet", wallet]);
        }
        let mut post = self
            .client
            .post(url)
            .timeout(within)
            .body(request.to_owned());
        if let Some(header) = authorization {
            post = post.header("authorization", header);
        }
        let failed = |error: reqwest::Error| {
            if error.is_timeout() {
                return SourceErrorKind::TimedOut { within };
            }
            let refused = error.is_connect();
            let source = Arc::new(error);
            if refused {
                SourceErrorKind::Refused { source }
            } else {
                SourceErrorKind::Broken { source }
            }
        };
        let mut answer = post.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if (body.len() + chunk.len()) as u64 > self.bytes_max {
                return Err(SourceErrorKind::TooLarge {
                    bytes_max: self.bytes_max,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }
}
