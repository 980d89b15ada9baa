//! `cfgsync-client`; everything it does is in `cfgsync_runtime::command`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cfgsync_runtime::command::client_main()
}
