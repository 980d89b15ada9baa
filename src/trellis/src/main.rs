//! The `trellis` command without any application; everything it does is in [`trellis::command`].

use std::process::ExitCode;

use trellis::command::Trellis;

fn main() -> ExitCode {
    Trellis::new().main()
}
