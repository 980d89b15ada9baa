//! HTTP: the server of a node. It owns the listener and what all answers have in common; what is answered comes as routers from the rooms that know it.
//!
//! It listens to this machine only, unless told otherwise; who is an operator is said in `operator`, and whose views are shown in `query`.

mod error;
mod operator;
pub mod ops;
mod page;
pub mod quarantine;

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, http::Uri, middleware};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use error::ApiError;
pub use operator::Operators;

/// Why the server does not listen.
#[derive(Debug, Error)]
#[error("cannot listen at {address}{}", hint(source))]
pub struct ListenError {
    /// Where it should.
    address: SocketAddr,
    /// Why not.
    source: io::Error,
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            " (is another node running? set http_listen to another port, or to none)"
        }
        _ => " (set http_listen to an address of this machine, or to none)",
    }
}

/// A server that listens, and answers as soon as it is served.
#[must_use]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    operators: Operators,
}

impl Server {
    /// Listens at `address`; `None` where there is to be no server. Port 0 takes any that is free.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn bind(address: Option<SocketAddr>) -> Result<Option<Self>, ListenError> {
        let Some(address) = address else {
            return Ok(None);
        };
        let failed = |source| ListenError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Some(Self {
            listener,
            address,
            router: Router::new(),
            operators: Operators::All,
        }))
    }

    /// The same for `operators` only, but for what everybody may see and what has tokens of its own.
    pub fn for_operators(self, operators: Operators) -> Self {
        Self { operators, ..self }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds routes. Their paths must not be those of others.
    pub fn mount(mut self, routes: Router) -> Self {
        self.router = self.router.merge(routes);
        self
    }

    /// Answers until `stop` is cancelled, and then finishes what was asked before.
    pub async fn serve(self, stop: CancellationToken) {
        let operators = Arc::new(self.operators);
        let router = self.router.fallback(unknown);
        let router = router.layer(middleware::from_fn_with_state(operators, operator::guard));
        let served = axum::serve(self.listener, router)
            .with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the HTTP server ended");
        }
    }
}

async fn unknown(uri: Uri) -> ApiError {
    ApiError::not_found(format!("there is nothing at {}", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_said_with_what_to_do() {
        let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        let first = Server::bind(any).await.unwrap().unwrap();
        let error = Server::bind(Some(first.address())).await.err().unwrap();
        let text = error.to_string();
        assert!(text.contains(&first.address().to_string()), "{text}");
        assert!(text.contains("set http_listen to another port"), "{text}");
        assert!(Server::bind(None).await.unwrap().is_none());
    }
}
