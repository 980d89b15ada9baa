//! Config: where a node is, who asks, whom to trust, and what a call may take.

use std::{fmt, sync::Arc, time::Duration};

use thiserror::Error;
use url::Url;

/// Where a node is, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// What errors call the node.
    pub name: Arc<str>,
    /// Where it answers: `http` or `https`, with a path where it is behind a proxy.
    pub url: Url,
    /// Who asks.
    pub auth: HttpAuth,
    /// Whose certificates are believed, when `url` is `https`.
    pub roots: HttpRoots,
    /// What a call may take.
    pub limits: HttpLimits,
    /// Whether connections are kept for the next call. There are nodes that wait for their clients
    /// to hang up before they end.
    pub keep_connections: bool,
}

impl HttpConfig {
    /// A node that anybody may ask, with the default limits.
    pub fn new(name: impl Into<Arc<str>>, url: Url) -> Self {
        Self {
            name: name.into(),
            url,
            auth: HttpAuth::None,
            roots: HttpRoots::System,
            limits: HttpLimits::default(),
            keep_connections: true,
        }
    }
}

/// Who asks. Shown without what proves it.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum HttpAuth {
    /// Nobody in particular.
    #[default]
    None,
    /// A user with a password.
    Basic {
        /// Who.
        user: String,
        /// Never shown.
        password: String,
    },
    /// Whoever has this token. Never shown.
    Bearer(String),
}

impl fmt::Debug for HttpAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Basic { user, .. } => write!(f, "Basic {{ user: {user:?}, password: *** }}"),
            Self::Bearer(_) => f.write_str("Bearer(***)"),
        }
    }
}

/// Whose certificates are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HttpRoots {
    /// Those that the system believes.
    #[default]
    System,
    /// Those that are signed by the certificates in this PEM text, and no others.
    Only(Arc<str>),
}

/// What one call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// How long an answer may take, to its last byte. Of a stream, how long its beginning may take.
    pub within: Duration,
    /// What is read of an answer at most. Of a stream, of each line.
    pub answer_bytes_max: usize,
}

impl Default for HttpLimits {
    /// Ten seconds, 64 MiB.
    fn default() -> Self {
        Self {
            within: Duration::from_secs(10),
            answer_bytes_max: 64 << 20,
        }
    }
}

/// Why a node cannot be asked in this way.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpConfigError {
    /// Neither `http` nor `https`.
    #[error("{scheme} is not a scheme that nodes are asked by; use http or https")]
    Scheme {
        /// What there is instead.
        scheme: String,
    },
    /// A user or a password in the address, where it would be shown.
    #[error("the address has a credential in it; give it apart from the address")]
    CredentialInUrl,
    /// A credential that HTTP cannot send.
    #[error("the credential has characters that no HTTP header can have")]
    Credential,
    /// No certificate to trust.
    #[error("no certificate of an authority in {place}")]
    NoRoots {
        /// Where they should be.
        place: &'static str,
    },
    /// What should be a certificate is none.
    #[error("a certificate that cannot be read: {reason}")]
    Certificate {
        /// Why.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_proves_who_asks_is_not_shown() {
        let mut config = HttpConfig::new("NODE_1", "http://localhost".parse().unwrap());
        config.auth = HttpAuth::Basic {
            user: "u".to_owned(),
            password: "hidden".to_owned(),
        };
        let basic = format!("{config:?}");
        config.auth = HttpAuth::Bearer("hidden".to_owned());
        let bearer = format!("{config:?}");

        assert!(basic.contains("Basic { user: \"u\", password: *** }"));
        assert!(bearer.contains("Bearer(***)"));
        assert!(!basic.contains("hidden") && !bearer.contains("hidden"));
    }
}
