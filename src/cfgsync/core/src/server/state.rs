//! State: what all requests of a server share.

use std::{fmt, sync::Arc};

use tokio::sync::watch;

use super::{
    bodies::Bodies,
    hold::{Hold, Holding},
    limits::ServerLimits,
};
use crate::{BearerToken, NodeConfigSource};

/// A source with the limits and the token under which it is served. Cheap to clone; clones are the same server.
#[derive(Clone)]
#[must_use]
pub struct CfgsyncServerState {
    shared: Arc<Shared>,
    /// Becomes true when the server ends; nothing where it does not know.
    closing: Option<watch::Receiver<bool>>,
}

struct Shared {
    source: Arc<dyn NodeConfigSource>,
    limits: ServerLimits,
    token: Option<BearerToken>,
    holding: Holding,
    bodies: Bodies,
}

impl CfgsyncServerState {
    /// `source` under the default limits, for everybody who can reach the server.
    pub fn new(source: Arc<dyn NodeConfigSource>) -> Self {
        Self::of(source, ServerLimits::default(), None)
    }

    /// The same source under `limits`.
    pub fn with_limits(self, limits: ServerLimits) -> Self {
        let token = self.shared.token.clone();
        Self::of(Arc::clone(&self.shared.source), limits, token)
    }

    /// The same source for those only who know `token`. `GET /healthz` is for all.
    pub fn with_bearer_token(self, token: impl Into<BearerToken>) -> Self {
        let limits = self.shared.limits.clone();
        Self::of(Arc::clone(&self.shared.source), limits, Some(token.into()))
    }

    /// The source behind this server.
    pub fn source(&self) -> &Arc<dyn NodeConfigSource> {
        &self.shared.source
    }

    /// How many requests are held now.
    pub fn held(&self) -> usize {
        self.shared.holding.len()
    }

    fn of(
        source: Arc<dyn NodeConfigSource>,
        limits: ServerLimits,
        token: Option<BearerToken>,
    ) -> Self {
        let shared = Shared {
            holding: Holding::new(limits.held_max),
            bodies: Bodies::new(limits.kept_bytes_max),
            source,
            limits,
            token,
        };
        Self {
            shared: Arc::new(shared),
            closing: None,
        }
    }

    /// The same state for a server that ends when `closing` becomes true.
    pub(crate) fn closing_with(self, closing: watch::Receiver<bool>) -> Self {
        Self {
            closing: Some(closing),
            ..self
        }
    }

    pub(crate) fn limits(&self) -> &ServerLimits {
        &self.shared.limits
    }

    pub(crate) fn token(&self) -> Option<&BearerToken> {
        self.shared.token.as_ref()
    }

    pub(crate) fn bodies(&self) -> &Bodies {
        &self.shared.bodies
    }

    /// Room for one more held request, unless there is none or the server is about to end.
    pub(crate) fn hold(&self) -> Option<Hold> {
        let closing = self
            .closing
            .as_ref()
            .is_some_and(|closing| *closing.borrow());
        if closing {
            return None;
        }
        self.shared.holding.hold(&self.shared.source)
    }

    /// Until the server is about to end.
    pub(crate) async fn closed(&self) {
        if let Some(mut closing) = self.closing.clone()
            && closing.wait_for(|closing| *closing).await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

impl fmt::Debug for CfgsyncServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CfgsyncServerState")
            .field("limits", &self.shared.limits)
            .field("token", &self.shared.token)
            .finish_non_exhaustive()
    }
}
