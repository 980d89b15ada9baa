//! The log: to standard error, for people or for programs.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// For a node. The client of NATS says each connection that it makes.
pub(super) const OF_NODE: &str = "info,async_nats=warn";
/// For a command, which says by itself what came of it.
pub(super) const OF_COMMAND: &str = "error";

/// Writes what happens from now on. `RUST_LOG` says how much of it, or else `usual`.
pub(super) fn begin(format: LogFormat, usual: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).init(),
    }
}
