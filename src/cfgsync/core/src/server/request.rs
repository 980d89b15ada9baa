//! Requests: from bytes to a registration that may be acted upon, or the reason why not.

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::Request,
    http::{HeaderMap, StatusCode, header},
};
use http_body_util::BodyExt as _;
use serde_json::error::Category;
use tokio::time::timeout;

use super::{limits::ServerLimits, refusal::Refusal, state::CfgsyncServerState};
use crate::{ErrorBody, NodeRegistration};

/// How much of a body that is refused is still read: an answer that is sent while the client is sending may never be seen by it.
const DISCARDED_MAX: usize = 1024 * 1024;

/// The headers and the registration of an admitted request.
pub(crate) async fn receive(
    state: &CfgsyncServerState,
    request: Request,
) -> Result<(HeaderMap, NodeRegistration), Refusal> {
    let limits = state.limits();
    let (parts, body) = request.into_parts();
    let admitted = admit(state, &parts.headers).and_then(|()| is_json(&parts.headers));
    let kept_max = match admitted {
        Ok(()) => limits.body_bytes_max,
        Err(_) => 0,
    };
    let read = timeout(limits.read_within, read(body, kept_max)).await;
    admitted?;
    let body = read.map_err(|_| {
        let text = format!("the body did not arrive within {:?}", limits.read_within);
        Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", text)
    })??;
    Ok((parts.headers, decode(&body, limits)?))
}

/// Whether a request with these headers may ask for more than whether the server is there.
pub(crate) fn admit(state: &CfgsyncServerState, headers: &HeaderMap) -> Result<(), Refusal> {
    let limits = state.limits();
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if headers.len() > limits.headers_max || bytes > limits.headers_bytes_max {
        let text = format!(
            "a request may have {} headers of {} bytes together",
            limits.headers_max, limits.headers_bytes_max
        );
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Refusal::new(status, "headers_too_large", text));
    }
    let Some(token) = state.token() else {
        return Ok(());
    };
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| bearer(value.as_bytes()));
    match given {
        Some(given) if token.matches(given) => Ok(()),
        given => {
            let text = match given {
                Some(_) => "the bearer token is another one than this server's",
                None => "this server wants `Authorization: Bearer <token>`",
            };
            let status = StatusCode::UNAUTHORIZED;
            Err(Refusal::new(status, "unauthorised", text))
        }
    }
}

/// The token of `Bearer <token>`; the scheme is written in any case.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let (essence, _) = text.split_once(';').unwrap_or((text, ""));
    if essence.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = "a registration is sent with `Content-Type: application/json`";
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Refusal::new(status, "unsupported_media_type", message))
}

async fn read(mut body: Body, kept_max: usize) -> Result<Bytes, Refusal> {
    let mut kept = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let text = format!("the body broke off: {error}");
            Refusal::new(StatusCode::BAD_REQUEST, "body_broken", text)
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length <= kept_max {
            // Most bodies come in one piece, which is then not copied.
            if kept.is_empty() && body.is_end_stream() {
                return Ok(data);
            }
            kept.extend_from_slice(&data);
        } else if length > kept_max + DISCARDED_MAX {
            break;
        }
    }
    if length > kept_max {
        let text = format!("a body may have {kept_max} bytes");
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Refusal::new(status, "body_too_large", text));
    }
    Ok(kept.into())
}

/// Reads the body of `POST /register` or `POST /node` as a server with these limits does; for fuzzing and for other transports.
///
/// # Errors
/// What such a server would answer.
pub fn decode_registration(
    body: &[u8],
    limits: &ServerLimits,
) -> Result<NodeRegistration, ErrorBody> {
    decode(body, limits).map_err(ErrorBody::from)
}

fn decode(body: &[u8], limits: &ServerLimits) -> Result<NodeRegistration, Refusal> {
    let registration: NodeRegistration = serde_json::from_slice(body).map_err(refused)?;
    let identifier = &registration.identifier;
    let problem = if identifier.is_empty() {
        "is empty".to_owned()
    } else if identifier.len() > limits.identifier_bytes_max {
        let text = format!(
            "an identifier may have {} bytes",
            limits.identifier_bytes_max
        );
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Refusal::new(status, "identifier_too_large", text));
    } else if identifier.chars().any(char::is_control) {
        "has control characters".to_owned()
    } else {
        return Ok(registration);
    };
    let message = format!("the identifier {problem}");
    Err(Refusal::unprocessable("invalid_identifier", message))
}

fn refused(error: serde_json::Error) -> Refusal {
    match error.classify() {
        Category::Data => Refusal::unprocessable(
            "invalid_registration",
            format!("the body is JSON, but no registration: {error}"),
        ),
        Category::Syntax | Category::Eof | Category::Io => Refusal::new(
            StatusCode::BAD_REQUEST,
            "malformed_json",
            format!("the body is not JSON: {error}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Option<&str>) {
        let decoded = decode(body.as_bytes(), &ServerLimits::default());
        assert_eq!(
            decoded.err().map(|refusal| refusal.code()),
            expected,
            "{body}"
        );
    }

    #[test]
    fn a_registration_is_an_object_with_a_name_and_an_address() {
        check(r#"{"identifier": "a", "ip": "10.0.0.1"}"#, None);
        check(
            r#"{"identifier": "a", "ip": "fe80::1", "metadata": [1]}"#,
            None,
        );
        check(
            r#"{"identifier": "a", "ip": "::ffff:10.0.0.1", "metadata": null}"#,
            None,
        );
        for body in [
            r#"{"identifier": "a"}"#,
            r#"{"identifier": 1, "ip": "10.0.0.1"}"#,
            r#"{"identifier": "a", "ip": "10.0.0.256"}"#,
            r#"{"identifier": "a", "ip": "localhost"}"#,
            r#"{"identifier": "a", "identifier": "b", "ip": "10.0.0.1"}"#,
            "3",
            "null",
        ] {
            check(body, Some("invalid_registration"));
        }
    }

    #[test]
    fn what_is_not_json_is_called_so() {
        for body in ["", "{", "nodes:", "{} {}", "\u{feff}{}"] {
            let registration = r#"{"identifier": "a", "ip": "10.0.0.1"}"#;
            check(
                &body.replace("{} {}", &registration.repeat(2)),
                Some("malformed_json"),
            );
        }
        // As deep as only somebody who means harm would nest it.
        check(&"[".repeat(60_000), Some("invalid_registration"));
        let deep = "[".repeat(60_000);
        let body = format!(r#"{{"identifier": "a", "ip": "10.0.0.1", "metadata": {deep}"#);
        check(&body, Some("malformed_json"));
    }

    #[test]
    fn identifiers_are_bounded_and_printable() {
        let named = |name: &str| format!(r#"{{"identifier": "{name}", "ip": "10.0.0.1"}}"#);
        check(&named(""), Some("invalid_identifier"));
        check(&named("a\\nb"), Some("invalid_identifier"));
        check(&named("a\\u0000"), Some("invalid_identifier"));
        check(&named(&"a".repeat(254)), Some("identifier_too_large"));
        check(&named(&"a".repeat(253)), None);
        check(&named("Knoten ä/..\\\\"), None);
    }
}
