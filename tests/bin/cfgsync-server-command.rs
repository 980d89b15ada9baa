//! `cfgsync-server`, built with the suite so that its path is known to it.

use std::process::ExitCode;

fn main() -> ExitCode {
    cfgsync_runtime::command::server_main()
}
