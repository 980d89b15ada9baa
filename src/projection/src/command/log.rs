//! The log: to standard error, for people or for programs.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// Writes what happens from now on. `RUST_LOG` says how much of it.
pub(super) fn begin(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
