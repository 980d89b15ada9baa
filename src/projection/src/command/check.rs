//! `check` and `settings`: what can be known without starting anything.

use std::process::ExitCode;

use super::{Outcome, node::Node, say};
use crate::settings::fields;

/// Says whether settings and manifest, which were just loaded, can be used.
pub(super) fn check(node: &Node) -> Outcome {
    let names = node
        .manifest
        .projections()
        .iter()
        .map(|projection| projection.table.to_string());
    let names = names.collect::<Vec<_>>().join(", ");
    say(&format!("settings and manifest are right: {names}"))
}

/// Lists all settings.
pub(super) fn settings() -> Outcome {
    for field in fields() {
        say(&format!(
            "{:24} {:36} {}",
            field.key, field.variable, field.about
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
