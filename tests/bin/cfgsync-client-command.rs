//! `cfgsync-client`, built with the suite so that its path is known to it.

use std::process::ExitCode;

fn main() -> ExitCode {
    cfgsync_runtime::command::client_main()
}
