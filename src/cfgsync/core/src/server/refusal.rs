//! Refusals: every answer that is no success, with its status, its word and its sentence.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{ErrorBody, RegisterError};

/// What a plain client waits between two questions.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(crate) fn not_ready(message: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_EARLY, "not_ready", message)
    }

    pub(crate) fn unknown_node(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_node", message)
    }

    pub(crate) fn source_failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "source_failed", message)
    }

    pub(crate) fn unprocessable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message)
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }
}

impl From<RegisterError> for Refusal {
    fn from(error: RegisterError) -> Self {
        let message = error.to_string();
        match error {
            RegisterError::Unknown { .. } => Self::unknown_node(message),
            RegisterError::Full { .. } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_registrations",
                message,
            ),
            RegisterError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "metadata_too_large", message)
            }
        }
    }
}

impl From<Refusal> for ErrorBody {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code.to_owned(),
            message: refusal.message,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, Json(ErrorBody::from(self))).into_response();
        let headers = response.headers_mut();
        match status {
            StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            StatusCode::UNAUTHORIZED => {
                let scheme = HeaderValue::from_static("Bearer");
                headers.insert(header::WWW_AUTHENTICATE, scheme);
            }
            _ => {}
        }
        response
    }
}
