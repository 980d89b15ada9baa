//! The main job: every feature under `features/`, on real nodes.
//!
//! This is the composition root. Only here are applications and backends named; `cargo test --test cucumber -- --help` shows what can be asked of it.

use std::{env, path::Path, process::ExitCode};

use bitcoin_node::{BitcoinApp, Flavour};
use devchain::DevchainApp;
use logos_node::LogosApp;
use openraft_kv::OpenRaftKv;
use projection_cluster::ProjectionApp;
use tests::{
    bitcoin::BitcoinPort,
    bitcoin_outsiders::BitcoinOutsiders,
    chain_outsiders::ChainOutsiders,
    devchain::DevchainPort,
    etcd::Etcd,
    etcd_kv::{EtcdPort, http_client},
    etcd_outside::EtcdOutsiders,
    logos::{self, LogosPort},
    openraft::OpenRaftPort,
    outsiders::RaftOutsiders,
    projection::{self, ProjectionPort},
    signals::Signals,
    sleeper::Sleeper,
    squatter::Squatted,
};
use trellis::{
    CfgsyncCommands, Harness, LocalConfig, LocalDeployer, Program, SuiteApp, UpClusters,
};
use trellis_static::StaticProvider;
use trellis_steps::StepResult;

fn main() -> ExitCode {
    let program = env!("CARGO_BIN_EXE_openraft-kv-node");
    let app = OpenRaftKv::new(program);
    let devchain = env!("CARGO_BIN_EXE_devchain-node");
    let litecoin = "litecoin".parse().expect("the name is a valid one");
    let litecoin = BitcoinApp::new(litecoin, Flavour::litecoin());
    let (logos, rehearsal) = match logos_apps(devchain) {
        Ok(apps) => apps,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let (nats, nats_program) = projection::server(
        env::var_os(projection::SERVER_VARIABLE).as_deref(),
        env::var_os("PATH").as_deref(),
    );
    let projection = ProjectionApp::new(
        env!("CARGO_BIN_EXE_projection-node"),
        nats,
        projection::TENANTS,
    );
    let signals = Signals::default();
    let squatted = Squatted::new(app.clone());
    let etcd = Etcd {
        name: "etcd".parse().expect("the name is a valid one"),
        http: http_client(),
    };
    Harness::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../features"))
        .app(SuiteApp::new(app.clone()).with_kv(OpenRaftPort::new(app.clone())))
        .app(SuiteApp::new(squatted).with_kv(OpenRaftPort::new(app)))
        .app(
            SuiteApp::new(etcd.clone())
                .with_kv(EtcdPort::new(etcd.http))
                .with_outsiders(EtcdOutsiders)
                .needs(Program::named("etcd", "apt-get install etcd-server")),
        )
        .app(
            SuiteApp::new(DevchainApp::new(devchain))
                .with_chain(DevchainPort::new(devchain))
                .with_outsiders(ChainOutsiders::new(devchain)),
        )
        .app(
            SuiteApp::new(litecoin.clone())
                .with_chain(BitcoinPort::new(litecoin))
                .with_outsiders(BitcoinOutsiders::new(Flavour::litecoin()))
                .needs(Program::named("litecoind", "apt-get install litecoind")),
        )
        .app(
            SuiteApp::new(logos.clone())
                .needs(logos::program(&logos))
                .with_chain(LogosPort::new(logos)),
        )
        // Features use it to show that a Logos node is run by a program and templates alone.
        .app(
            SuiteApp::new(rehearsal.clone())
                .with_chain(LogosPort::new(rehearsal))
                .with_outsiders(ChainOutsiders::new(devchain)),
        )
        .app(
            SuiteApp::new(projection.clone())
                .with_projection(ProjectionPort::new(projection))
                .needs(nats_program)
                .with_disks(projection::disks()),
        )
        // Features use it to show what becomes of scenarios whose application lacks something.
        .app(
            SuiteApp::new(Sleeper::called("unavailable")).needs(Program::named(
                "trellis-no-such-program",
                "apt-get install trellis-no-such-package",
            )),
        )
        .deployer("local", |options| {
            LocalDeployer::new(LocalConfig {
                ports: options.ports.clone(),
                ..LocalConfig::default()
            })
        })
        .attach_provider(|_| StaticProvider::new(|name| env::var(name).ok()))
        .attach_provider(|options| UpClusters::new(options.state()))
        // Features use these to show what becomes of nodes that are not ours.
        .outsiders(RaftOutsiders::new(program, signals.clone()))
        .attach_provider(move |_| signals.clone())
        .trellis_command(env!("CARGO_BIN_EXE_trellis-command"))
        .cfgsync_commands(CfgsyncCommands {
            server: env!("CARGO_BIN_EXE_cfgsync-server-command").into(),
            client: env!("CARGO_BIN_EXE_cfgsync-client-command").into(),
        })
        .target_dir(Path::new(env!("CARGO_TARGET_TMPDIR")).join("../trellis"))
        .main()
}

/// Real Logos nodes as this machine has them, and devchain in their place.
fn logos_apps(devchain: &str) -> StepResult<(LogosApp, LogosApp)> {
    let file = env::var_os(logos::VARIABLE).filter(|file| !file.is_empty());
    let real = logos::logos("logos", file.as_deref().map(Path::new))?;
    let rehearsal = Path::new(env!("CARGO_MANIFEST_DIR")).join("logos/logos-node.toml");
    let mut settings = logos::load(&rehearsal)?;
    settings.program = devchain.into();
    let rehearsal = LogosApp::new("logos-rehearsal".parse()?, settings)?;
    Ok((real, rehearsal))
}
