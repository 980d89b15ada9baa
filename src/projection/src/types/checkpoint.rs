//! Checkpoints: how far a projection has come in which stream, as it is stored beside its views.

use serde::{Deserialize, Serialize};

use crate::shards::ShardMark;

/// The form of stores that this version writes. Another form is never guessed at.
pub const CHECKPOINT_FORMAT: u32 = 1;

/// Everything up to `floor` is in the views, and nothing beyond it.
///
/// It says of which stream that holds, because a sequence means nothing in a stream that was made anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The form of the store.
    pub format: u32,
    /// The stream.
    pub stream: String,
    /// When the stream was created, in nanoseconds since 1970.
    pub stream_created: i128,
    /// What of the stream is read.
    pub filter_hash: String,
    /// The program that made the views.
    pub program_hash: String,
    /// Which shard of the stream it is, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardMark>,
    /// The last sequence that is in the views; 0 where none is.
    pub floor: u64,
    /// When the message at `floor` was published, in nanoseconds since 1970. `None` at 0.
    pub published: Option<i128>,
}

impl Checkpoint {
    /// The checkpoint after the message `floor`, which was published at `published`.
    #[must_use]
    pub fn advanced(&self, floor: u64, published: i128) -> Self {
        Self {
            floor,
            published: Some(published),
            ..self.clone()
        }
    }

    /// The bytes that a store keeps.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers are always JSON")
    }

    /// Reads what [`Checkpoint::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are not a checkpoint.
    pub fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_round_trips() {
        let start = Checkpoint {
            format: CHECKPOINT_FORMAT,
            stream: "EVENTS".into(),
            stream_created: 1_767_225_600_123_456_789,
            filter_hash: "ab".into(),
            program_hash: "cd".into(),
            shard: None,
            floor: 0,
            published: None,
        };
        let later = start.advanced(u64::MAX, -1);
        assert_eq!(Checkpoint::decode(&start.encode()).unwrap(), start);
        assert_eq!(Checkpoint::decode(&later.encode()).unwrap(), later);
    }
}
