//! The openraft-kv node program, built with the feature suite so that its path is known there.
//!
//! Everything it does is in [`openraft_kv::node`].

use std::process::ExitCode;

fn main() -> ExitCode {
    openraft_kv::node::main()
}
