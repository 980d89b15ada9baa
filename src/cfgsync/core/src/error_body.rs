//! Error body: what every answer that is no success says.

use serde::{Deserialize, Serialize};

/// `{"code": "...", "message": "..."}`: a word for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The word, such as `not_ready`.
    pub code: String,
    /// The sentence.
    pub message: String,
}
