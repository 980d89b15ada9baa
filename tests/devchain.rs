//! The devchain application on a cluster that the harness starts: files by cfgsync, one genesis, overrides, restarts and data that is saved and put back.

use std::time::Duration;

use devchain::{DevchainApp, Genesis};
use tests::site::{Site, node};
use trellis_domain::{NodeHandle, NodeName};
use trellis_runtime::{Cluster, Journal};

fn app() -> DevchainApp {
    let mut genesis = Genesis::new("", "seed").with_block_time(Duration::from_millis(100));
    genesis.leaders = 3;
    DevchainApp::new(env!("CARGO_BIN_EXE_devchain-node")).with_genesis(genesis)
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

async fn height(app: &DevchainApp, node: &NodeHandle) -> u64 {
    let info = app.client(node).unwrap().info().await.unwrap();
    info.cryptarchia_info.height
}

async fn reaches(app: &DevchainApp, node: &NodeHandle, goal: u64) {
    let reached = async {
        while height(app, node).await < goal {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let within = Duration::from_secs(30);
    let reached = tokio::time::timeout(within, reached).await;
    reached.unwrap_or_else(|_| panic!("{} is not at height {goal}", node.name()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_devchain_nodes_comes_up_on_one_chain_and_its_nodes_can_be_handled() {
    let site = Site::new("devchain");
    let app = app();
    let mut third = node("NODE_3", &["NODE_1"]);
    third.overrides.insert("leads".into(), "false".into());
    let nodes = vec![node("NODE_1", &[]), node("NODE_2", &["NODE_1"]), third];
    let mut request = site.request(app.clone(), nodes);
    request.spec.ready_within = Duration::from_secs(10);
    let cluster = Cluster::boot(request, Journal::default()).await.unwrap();
    let handles: Vec<_> = ["NODE_1", "NODE_2", "NODE_3"]
        .map(|text| cluster.node(&name(text)).unwrap())
        .into();
    let genesis = app.genesis("test").id().to_string();
    for handle in &handles {
        assert_eq!(handle.network.genesis.as_deref(), Some(genesis.as_str()));
        assert_eq!(handle.network.network.as_deref(), Some("test"));
        reaches(&app, handle, 5).await;
    }

    let second = name("NODE_2");
    cluster.stop(&second).await.unwrap();
    cluster.save_data(&second, "early").await.unwrap();
    let away = height(&app, &handles[0]).await;
    reaches(&app, &handles[0], away + 10).await;
    let back = cluster.start(&second).await.unwrap();
    assert_eq!(back.identity, handles[1].identity);
    reaches(&app, &back, away + 10).await;

    cluster.kill(&second).await.unwrap();
    cluster
        .restore_data(&second, "early", &second)
        .await
        .unwrap();
    let early = cluster.start(&second).await.unwrap();
    reaches(&app, &early, away + 10).await;
    cluster.release().await.unwrap();
    site.assert_clean();
}
