//! Any body of `POST /register` is a registration that can be written and read again, or is refused with a reason.

#![no_main]

use cfgsync_core::{NodeRegistration, ServerLimits, decode_registration};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let limits = ServerLimits::default();
    match decode_registration(body, &limits) {
        Ok(registration) => {
            assert!(!registration.identifier.is_empty());
            assert!(registration.identifier.len() <= limits.identifier_bytes_max);
            let written = serde_json::to_vec(&registration).expect("it was JSON before");
            let read: NodeRegistration = serde_json::from_slice(&written).expect("as it was");
            assert_eq!(read, registration);
        }
        Err(refusal) => assert!(!refusal.message.is_empty()),
    }
});
