//! The `trellis` command; everything it does is in [`trellis::command`].

use std::process::ExitCode;

fn main() -> ExitCode {
    trellis::command::main()
}
