//! Decoding: any bytes are a registration or are refused; the same entries that are fuzzed (see `cfgsync/fuzz`).

use cfgsync_core::{NodeArtifactsBundle, NodeRegistration, ServerLimits, decode_registration};
use proptest::{collection::vec, prelude::*};

/// JSON that is nearly a registration.
fn nearly() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        "[a-z0-9.:]{0,12}",
        ".*",
        "10\\.0\\.0\\.[0-9]{1,3}",
        "[0-9a-f:]{2,20}"
    ];
    let key = prop_oneof!["identifier", "ip", "metadata", "[a-z]{0,4}"];
    let value = prop_oneof![
        text.prop_map(|text| serde_json::to_string(&text).unwrap()),
        "-?[0-9]{1,30}",
        Just("null".to_owned()),
        Just("[[], {}]".to_owned()),
    ];
    let field = (key, value).prop_map(|(key, value)| format!("\"{key}\": {value}"));
    vec(field, 0..5).prop_map(|fields| format!("{{{}}}", fields.join(", ")))
}

fn decodes_soundly(bytes: &[u8]) -> Result<(), TestCaseError> {
    let limits = ServerLimits::default();
    match decode_registration(bytes, &limits) {
        Ok(registration) => {
            prop_assert!(!registration.identifier.is_empty());
            prop_assert!(registration.identifier.len() <= limits.identifier_bytes_max);
            prop_assert!(!registration.identifier.contains(char::is_control));
            let written = serde_json::to_vec(&registration).unwrap();
            let read: NodeRegistration = serde_json::from_slice(&written).unwrap();
            prop_assert_eq!(read, registration);
        }
        Err(refusal) => prop_assert!(!refusal.code.is_empty() && !refusal.message.is_empty()),
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_a_registration_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        decodes_soundly(&bytes)?;
    }

    #[test]
    fn near_registrations_are_registrations_or_refused(text in nearly()) {
        decodes_soundly(text.as_bytes())?;
    }

    #[test]
    fn any_bytes_are_a_bundle_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = NodeArtifactsBundle::from_yaml(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn near_bundles_are_bundles_or_refused(
        text in "(nodes|shared_files|identifier|files|path|content|[a-z&*!|>'\"{}\\[\\],:?# \n-]){0,40}",
    ) {
        let _ = NodeArtifactsBundle::from_yaml(&text);
    }
}
