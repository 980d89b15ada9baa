//! The `trellis` command, built with the feature suite so that its path is known there.
//!
//! Everything it does is in [`trellis::command`].

use std::process::ExitCode;

fn main() -> ExitCode {
    trellis::command::main()
}
