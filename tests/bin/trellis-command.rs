//! The `trellis` command with the applications of the feature suite, built with it so that its path is known there.
//!
//! Everything it does is in [`trellis::command`].

use std::{env, process::ExitCode};

use devchain::DevchainApp;
use openraft_kv::OpenRaftKv;
use tests::recorded;
use trellis::{LocalConfig, LocalDeployer, command::Trellis};
use trellis_static::StaticProvider;

fn main() -> ExitCode {
    // The programs of this package are built side by side.
    let node = env::current_exe().unwrap_or_default();
    let kv = OpenRaftKv::new(node.with_file_name("openraft-kv-node"));
    Trellis::new()
        .app(kv.clone())
        .app(DevchainApp::new(node.with_file_name("devchain-node")))
        .recorded("openraft-kv", move |nodes| {
            vec![recorded::leaders(&kv, nodes)]
        })
        .recorded("devchain", |nodes| vec![recorded::heads(nodes)])
        .deployer("local", |settings| {
            LocalDeployer::new(LocalConfig {
                ports: settings.ports.clone(),
                ..LocalConfig::default()
            })
        })
        .attach_provider(StaticProvider::new(|name| env::var(name).ok()))
        .main()
}
