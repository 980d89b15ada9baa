//! The command. All that it does is in the library (see `projection::command`).

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    projection::command::main().await
}
