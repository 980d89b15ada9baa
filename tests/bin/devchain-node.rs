//! The devchain node program, built with the feature suite so that its path is known there.
//!
//! Everything it does is in [`devchain::node`].

use std::process::ExitCode;

fn main() -> ExitCode {
    devchain::node::main()
}
