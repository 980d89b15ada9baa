//! Auth: what a node is told of who asks.
//!
//! A node without a configured password writes a new one into its cookie file each time it
//! starts, so the file is read when it is needed and again when the node no longer believes it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::error::SourceErrorKind;

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

/// The header that says who asks, as it was last known.
pub(super) struct Authorization {
    auth: RpcAuth,
    cookie: Mutex<Option<Arc<str>>>,
}

impl Authorization {
    pub(super) fn new(auth: RpcAuth) -> Self {
        let cookie = Mutex::default();
        Self { auth, cookie }
    }

    /// The value of the header.
    pub(super) async fn header(&self) -> Result<Option<Arc<str>>, SourceErrorKind> {
        match &self.auth {
            RpcAuth::None => Ok(None),
            RpcAuth::Password { user, password } => Ok(Some(basic(&format!("{user}:{password}")))),
            RpcAuth::CookieFile(path) => {
                let known = self.known().clone();
                if known.is_some() {
                    return Ok(known);
                }
                let read = read(path).await?;
                *self.known() = Some(Arc::clone(&read));
                Ok(Some(read))
            }
        }
    }

    /// Looks again after the node did not believe `refused`. Whether there is something else to
    /// say by now.
    pub(super) async fn renew(&self, refused: Option<&str>) -> Result<bool, SourceErrorKind> {
        let RpcAuth::CookieFile(path) = &self.auth else {
            return Ok(false);
        };
        let read = read(path).await?;
        let renewed = refused != Some(&*read);
        *self.known() = Some(read);
        Ok(renewed)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Arc<str>>> {
        self.cookie.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(path: &Path) -> Result<Arc<str>, SourceErrorKind> {
    let no_credential = |error: io::Error| SourceErrorKind::NoCredential {
        path: path.to_owned(),
        source: Arc::new(error),
    };
    let cookie = tokio::fs::read_to_string(path).await;
    Ok(basic(cookie.map_err(no_credential)?.trim()))
}

fn basic(user_and_password: &str) -> Arc<str> {
    format!("Basic {}", STANDARD.encode(user_and_password)).into()
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
    async fn a_cookie_is_read_again_only_when_it_was_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".cookie");
        let authorization = Authorization::new(RpcAuth::CookieFile(path.clone()));
        let missing = authorization.header().await.unwrap_err();
        assert!(matches!(missing, SourceErrorKind::NoCredential { .. }));

        std::fs::write(&path, "__cookie__:aa\n").unwrap();
        let first = authorization.header().await.unwrap().unwrap();
        std::fs::write(&path, "__cookie__:bb").unwrap();
        assert_eq!(authorization.header().await.unwrap().unwrap(), first);

        assert!(authorization.renew(Some(&first)).await.unwrap());
        let second = authorization.header().await.unwrap().unwrap();
        assert_ne!(second, first);
        assert!(!authorization.renew(Some(&second)).await.unwrap());
    }
}
