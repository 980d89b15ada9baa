//! What the tests and the benchmark run: a node, a node with a child that nothing binds to it, and a harness that is going to be killed.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use trellis_bootstrap::{ClusterRequest, Deployer as _, NodeCommand, RunLedger};
use trellis_domain::{
    Capability, Endpoint, NodeInventory, NodeName, NodeSighting, Operation, OptIns, Origin, Permit,
};
use trellis_local::{LocalConfig, LocalDeployer};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["serve", address] => serve(address),
        ["wake-up-and-serve", address] => {
            wake_up();
            serve(address)
        }
        ["run", run, state, folder] => run_five_nodes(run, state.into(), folder.into()),
        _ => panic!("unknown arguments {args:?}"),
    }
}

/// What a real node does before it listens: it waits for its disk, then works through what it read. The same amount of both on every start.
fn wake_up() {
    const DISK: Duration = Duration::from_millis(60);
    const ROUNDS: u64 = 10_000_000;
    std::thread::sleep(DISK);
    // A multiplication that the next one waits for: some 10 ms of one core when it is optimised.
    let state = (0..ROUNDS).fold(1_u64, |state, round| {
        std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005) ^ round)
    });
    std::hint::black_box(state);
}

/// Answers every HTTP request with 200, or says why not and ends with 1.
fn serve(address: &str) -> ExitCode {
    let listener = match TcpListener::bind(address) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on {address}: {error}");
            return ExitCode::from(1);
        }
    };
    println!("listening on {address}");
    for stream in listener.incoming().flatten() {
        let mut stream = stream;
        // A client that goes away is its own business.
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    }
    ExitCode::SUCCESS
}

/// A harness: five nodes, each with a child that has left the node's process group, so that neither group nor death signal ends it; two of them paused. Then it waits to be killed.
#[tokio::main]
async fn run_five_nodes(run: &str, state: PathBuf, folder: PathBuf) -> ExitCode {
    let request = ClusterRequest {
        network: format!("{run}-net"),
        folder: folder.clone(),
        ledger: Arc::new(RunLedger::open(&state, run.parse().unwrap()).unwrap()),
    };
    let deployer = LocalDeployer::new(LocalConfig::default());
    let control = deployer.open(request).await.unwrap();
    for number in 1..=5 {
        let name = format!("NODE_{number}").parse().unwrap();
        control.place(&name, &[]).await.unwrap();
        let command = NodeCommand {
            program: "/bin/sh".into(),
            args: vec![
                "-c".into(),
                "setsid sh -c 'touch data/up; exec sleep 601' & sleep 602 & wait".into(),
            ],
            env: BTreeMap::new(),
        };
        let instance = control.launch(&name, &command).await.unwrap();
        println!("{}", instance.label);
    }
    for number in 1..=5 {
        let up = folder.join(format!("nodes/NODE_{number}/data/up"));
        while !up.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    for number in 4..=5 {
        let name = format!("NODE_{number}").parse().unwrap();
        control.pause(&permit_to_pause(name)).await.unwrap();
    }
    println!("ready");
    std::future::pending().await
}

fn permit_to_pause(name: NodeName) -> Permit {
    let origin = Origin::Managed {
        deployer: "local".to_owned(),
    };
    let mut sighting = NodeSighting::new(name, origin);
    sighting.capabilities = [Capability::Pause].into_iter().collect();
    let endpoint = Endpoint::new("http".parse().unwrap(), "http://127.0.0.1:1").unwrap();
    sighting.endpoints.insert(endpoint);
    let mut inventory = NodeInventory::default();
    inventory.merge([sighting]).unwrap();
    let node = inventory.nodes().next().unwrap();
    Permit::check(node, Operation::Pause, &OptIns::default()).unwrap()
}
