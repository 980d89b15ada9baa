//! Auth: what a node is told of who asks.
//!
//! A node without a configured password writes a new one into its cookie file each time it
//! starts, so the file is read when it is needed and again when the node no longer believes it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    error::SourceErrorKind,
    http::{HttpAnswer, HttpAuth, HttpClient, HttpConfig, HttpConfigError, HttpRequest},
};

/// Who asks. Shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub enum RpcAuth {
    /// Nobody, as behind a proxy that adds who asks.
    None,
    /// Who can read this file: `DATADIR/regtest/.cookie`.
    CookieFile(PathBuf),
    /// A user with a password.
    Password {
        /// As in `rpcuser` or `rpcauth`.
        user: String,
        /// Never shown.
        password: String,
    },
}

impl fmt::Debug for RpcAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::CookieFile(path) => f.debug_tuple("CookieFile").field(path).finish(),
            Self::Password { user, .. } => {
                write!(f, "Password {{ user: {user:?}, password: *** }}")
            }
        }
    }
}

/// A client that says who asks, as it was last known.
pub(super) struct Access {
    auth: RpcAuth,
    /// Of a node with a cookie, one that says nothing yet.
    client: HttpClient,
    by_cookie: Mutex<Option<ByCookie>>,
}

/// A client, and the cookie that it says.
#[derive(Clone)]
struct ByCookie {
    cookie: Arc<str>,
    client: HttpClient,
}

impl Access {
    /// Nothing is read yet. `config` need not say who asks.
    pub(super) fn new(auth: RpcAuth, config: HttpConfig) -> Result<Self, HttpConfigError> {
        let http_auth = match &auth {
            RpcAuth::None | RpcAuth::CookieFile(_) => HttpAuth::None,
            RpcAuth::Password { user, password } => HttpAuth::Basic {
                user: user.clone(),
                password: password.clone(),
            },
        };
        let client = HttpClient::new(HttpConfig {
            auth: http_auth,
            ..config
        })?;
        Ok(Self {
            auth,
            client,
            by_cookie: Mutex::default(),
        })
    }

    /// Asks, and asks once more where a node that started anew no longer believes its old cookie.
    pub(super) async fn send(
        &self,
        within: Duration,
        request: &HttpRequest,
    ) -> Result<HttpAnswer, SourceErrorKind> {
        let RpcAuth::CookieFile(path) = &self.auth else {
            let answer = self.client.send_within(within, request).await;
            return answer.map_err(|error| error.kind);
        };
        let known = self.known().clone();
        let by_cookie = match known {
            Some(known) => known,
            None => self.read(path).await?,
        };
        let answer = by_cookie.client.send_within(within, request).await;
        match answer.map_err(|error| error.kind) {
            Err(refused @ SourceErrorKind::Unauthorised { .. }) => {
                let renewed = self.read(path).await?;
                if renewed.cookie == by_cookie.cookie {
                    return Err(refused);
                }
                let answer = renewed.client.send_within(within, request).await;
                answer.map_err(|error| error.kind)
            }
            answer => answer,
        }
    }

    async fn read(&self, path: &Path) -> Result<ByCookie, SourceErrorKind> {
        let no_credential = |error: io::Error| SourceErrorKind::NoCredential {
            path: path.to_owned(),
            source: Arc::new(error),
        };
        let cookie = tokio::fs::read_to_string(path).await;
        let cookie: Arc<str> = cookie.map_err(no_credential)?.trim().into();
        let Some((user, password)) = cookie.split_once(':') else {
            // A node writes the file and then its content.
            return Err(no_credential(io::ErrorKind::UnexpectedEof.into()));
        };
        let auth = HttpAuth::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let client = self.client.with_auth(auth);
        let client = client.map_err(|error| no_credential(io::Error::other(error)))?;
        let read = ByCookie { cookie, client };
        *self.known() = Some(read.clone());
        Ok(read)
    }

    fn known(&self) -> MutexGuard<'_, Option<ByCookie>> {
        self.by_cookie
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let auth = RpcAuth::Password {
            user: "u".into(),
            password: "hidden".into(),
        };

        assert_eq!(
            format!("{auth:?}"),
            "Password { user: \"u\", password: *** }"
        );
    }

    #[tokio::test]
    async fn a_cookie_that_is_not_there_or_not_whole_is_no_credential() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".cookie");
        let config = HttpConfig::new("N1", "http://127.0.0.1:1".parse().unwrap());
        let access = Access::new(RpcAuth::CookieFile(path.clone()), config).unwrap();
        let request = HttpRequest::post("/", "{}");
        let within = Duration::from_secs(10);

        let missing = access.send(within, &request).await.unwrap_err();
        std::fs::write(&path, "").unwrap();
        let empty = access.send(within, &request).await.unwrap_err();

        for error in [missing, empty] {
            assert!(matches!(error, SourceErrorKind::NoCredential { path: at, .. } if at == path));
        }
    }
}
