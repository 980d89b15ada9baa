//! The projection node program, built with the feature suite so that its path is known there.
//!
//! Everything it does is in [`projection::command`].

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    projection::command::main().await
}
