//! Operators: who may see and change everything, beside those who may only ask for views.
//!
//! What is open to all is listed here, and everything else is for operators: a route that is added later is closed until somebody opens it.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use super::ApiError;
use crate::settings::Settings;

/// Says nothing of events: how the node is. Queries ask for tokens of their own.
const OPEN: [&str; 6] = ["/", "/health", "/ready", "/info", "/status", "/metrics"];
const QUERIES: &str = "/v1/";

/// Whom the node takes for an operator.
#[derive(Debug, Clone)]
pub enum Operators {
    /// Everybody who reaches it.
    All,
    /// Whoever comes with the token of this hash.
    Token([u8; 32]),
    /// Nobody: there are tokens of tenants, and none of operators.
    None,
}

impl Operators {
    /// What the settings say: the token, where there is one; else everybody, unless tenants must have tokens.
    pub fn of(settings: &Settings) -> Self {
        match &settings.operator_token {
            Some(token) => Self::Token(digest(token.expose())),
            None if settings.query_tokens.iter().next().is_some() => Self::None,
            None => Self::All,
        }
    }

    fn admit(&self, path: &str, headers: &HeaderMap) -> Result<(), ApiError> {
        if OPEN.contains(&path) || path.starts_with(QUERIES) {
            return Ok(());
        }
        let refused =
            |status, message: &str| Err(ApiError::new(status, "not_an_operator", message));
        let right = match self {
            Self::All => return Ok(()),
            Self::None => {
                return refused(
                    StatusCode::FORBIDDEN,
                    "there are query_tokens and no operator_token, so nobody may do this; set operator_token",
                );
            }
            Self::Token(right) => right,
        };
        let said = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        match said {
            Some((_, token)) if digest(token.trim()) == *right => Ok(()),
            Some(_) => refused(
                StatusCode::FORBIDDEN,
                "that is not the operator_token of this node",
            ),
            None => refused(
                StatusCode::UNAUTHORIZED,
                "this is for operators: send Authorization: Bearer with the operator_token (the command does where its settings have it)",
            ),
        }
    }
}

/// Lets through who may.
pub(super) async fn guard(
    State(operators): State<Arc<Operators>>,
    request: Request,
    next: Next,
) -> Response {
    match operators.admit(request.uri().path(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Compared instead of tokens, so that the time that takes says nothing about the right one.
fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Secret, Tokens};

    fn settings(operator: Option<&str>, tenants: bool) -> Settings {
        let mut settings = Settings {
            operator_token: operator.map(Secret::from),
            ..Settings::default()
        };
        if tenants {
            let tokens = [("of-north".to_owned(), "north".into())];
            settings.query_tokens = tokens.into_iter().collect::<Tokens>();
        }
        settings
    }

    #[track_caller]
    fn admitted(settings: &Settings, path: &str, token: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            headers.insert(header::AUTHORIZATION, value);
        }
        Operators::of(settings).admit(path, &headers).is_ok()
    }

    #[test]
    fn how_the_node_is_may_be_seen_by_all_and_what_is_in_events_by_operators() {
        let (closed, both) = (settings(None, true), settings(Some("secret"), true));
        for path in OPEN.into_iter().chain(["/v1/query", "/v1/shards/1/query"]) {
            assert!(admitted(&closed, path, None), "{path}");
            assert!(admitted(&both, path, None), "{path}");
        }
        for path in [
            "/quarantine/account",
            "/rebuild",
            "/shards/1/quarantine/account",
            "/new",
        ] {
            assert!(admitted(&settings(None, false), path, None), "{path}");
            assert!(!admitted(&closed, path, Some("of-north")), "{path}");
            assert!(!admitted(&both, path, None), "{path}");
            assert!(!admitted(&both, path, Some("of-north")), "{path}");
            assert!(admitted(&both, path, Some("secret")), "{path}");
            assert!(
                !admitted(&settings(Some("secret"), false), path, None),
                "{path}"
            );
        }
    }
}
