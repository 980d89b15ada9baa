//! Bodies: payloads as they are sent, each written once however many nodes get it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
};

use axum::body::Bytes;
use cfgsync_artifacts::ArtifactContent;

use crate::NodeArtifactsPayload;

/// Written payloads, by their place in memory. A payload that nobody holds any more is forgotten when room is needed.
#[derive(Debug)]
pub(crate) struct Bodies {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The weak reference keeps the place from being given to another payload.
    bodies: HashMap<usize, (Weak<NodeArtifactsPayload>, Body)>,
    bytes: usize,
}

/// Written by the first who needs it, while others who need the same one wait for it.
type Body = Arc<OnceLock<Bytes>>;

/// What an entry takes beside its bytes, about.
const ENTRY_BYTES: usize = 192;

impl Bodies {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            kept: Mutex::default(),
        }
    }

    /// `payload` as it is sent.
    pub(crate) fn body(&self, payload: &Arc<NodeArtifactsPayload>) -> Bytes {
        let place = Arc::as_ptr(payload).addr();
        let body = self.with_kept(|kept| {
            let entry = kept.bodies.entry(place);
            let new = || (Arc::downgrade(payload), Body::default());
            Arc::clone(&entry.or_insert_with(new).1)
        });
        let write = || {
            let mut written = Vec::with_capacity(length_about(payload));
            serde_json::to_writer(&mut written, &**payload)
                .expect("strings and a number have a form in JSON");
            self.with_kept(|kept| kept.grow(written.len(), self.bytes_max));
            written.into()
        };
        body.get_or_init(write).clone()
    }

    fn with_kept<T>(&self, action: impl FnOnce(&mut Kept) -> T) -> T {
        action(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A little more than most payloads are long as JSON, so that writing them does not grow the room for them step by step.
fn length_about(payload: &NodeArtifactsPayload) -> usize {
    let frame = 64;
    let files = payload.files.iter().map(|file| {
        let content = match &file.content {
            ArtifactContent::Text(text) => text.len() + text.len() / 16,
            ArtifactContent::Binary(bytes) => bytes.len().div_ceil(3) * 4,
        };
        frame + file.path.len() + content
    });
    frame + files.sum::<usize>()
}

impl Kept {
    /// Counts a body of `length`; makes room for it by forgetting first what nobody holds any more, then everything.
    fn grow(&mut self, length: usize, bytes_max: usize) {
        self.bytes += length + ENTRY_BYTES;
        if self.bytes <= bytes_max {
            return;
        }
        self.bodies
            .retain(|_, (payload, _)| payload.strong_count() > 0);
        let written = self.bodies.values().filter_map(|(_, body)| body.get());
        self.bytes = length
            + written
                .map(|bytes| bytes.len() + ENTRY_BYTES)
                .sum::<usize>();
        // Half, so that a set that hardly fits is not searched for the dead at every request.
        if self.bytes > bytes_max / 2 {
            self.bodies.clear();
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use cfgsync_artifacts::{ArtifactFile, ArtifactSet};

    use super::*;

    fn payload(content: &str) -> Arc<NodeArtifactsPayload> {
        let files = ArtifactSet::new([ArtifactFile::new("a", content)]).unwrap();
        Arc::new(NodeArtifactsPayload::new(files))
    }

    #[test]
    fn a_payload_is_written_once_for_all_who_get_it() {
        let bodies = Bodies::new(1_000_000);
        let (first, second) = (payload("1"), payload("1"));
        let body = bodies.body(&first);
        assert_eq!(
            body,
            br#"{"schema_version":1,"files":[{"path":"a","content":"1"}]}"#[..]
        );
        assert_eq!(bodies.body(&first).as_ptr(), body.as_ptr());
        assert_ne!(bodies.body(&second).as_ptr(), body.as_ptr());
    }

    #[test]
    fn what_is_kept_stays_within_its_bound() {
        let bodies = Bodies::new(10_000);
        let alive = payload("alive");
        for index in 0..1_000 {
            bodies.body(&alive);
            let body = bodies.body(&payload(&"x".repeat(index)));
            assert!(body.len() > index);
            let kept = bodies.with_kept(|kept| kept.bodies.len());
            assert!(kept <= 1 + 10_000 / ENTRY_BYTES, "{kept}");
        }
    }
}
