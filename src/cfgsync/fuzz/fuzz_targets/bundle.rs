//! Any text is a bundle whose nodes can be served, or is refused with a reason.

#![no_main]

use cfgsync_core::{BundleConfigSource, NodeArtifactsBundle};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match NodeArtifactsBundle::from_yaml(text) {
        Ok(bundle) => drop(BundleConfigSource::new(&bundle)),
        Err(refusal) => assert!(!refusal.to_string().is_empty()),
    }
});
