//! The `trellis` command with the applications of the feature suite, built with it so that its path is known there.
//!
//! Everything it does is in [`trellis::command`].

use std::{env, process::ExitCode};

use openraft_kv::OpenRaftKv;
use trellis::{LocalConfig, LocalDeployer, command::Trellis};

fn main() -> ExitCode {
    // The programs of this package are built side by side.
    let node = env::current_exe().unwrap_or_default();
    Trellis::new()
        .app(OpenRaftKv::new(node.with_file_name("openraft-kv-node")))
        .deployer("local", |settings| {
            LocalDeployer::new(LocalConfig {
                ports: settings.ports.clone(),
                ..LocalConfig::default()
            })
        })
        .main()
}
