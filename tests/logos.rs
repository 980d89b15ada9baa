//! The Logos application on a cluster that the harness starts: devchain, which speaks as a Logos node does, run by its program and by templates as a real node would be.

use std::{path::Path, time::Duration};

use devchain::{DevchainClient, DevchainWallet, FeePayer};
use futures::StreamExt as _;
use logos_node::{LogosApp, LogosSettings};
use tests::{
    logos::{load, logos, program},
    site::{Site, node},
};
use trellis_chain::{BlockAnswer, ChainSource as _, SignedTransaction, logos::LogosSource};
use trellis_domain::{Endpoint, ExternalNode, NodeHandle, NodeName, Ownership, ScenarioSources};
use trellis_runtime::{Cluster, Journal};

fn settings() -> LogosSettings {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("logos/logos-node.toml");
    let mut settings = load(&file).unwrap();
    settings.program = env!("CARGO_BIN_EXE_devchain-node").into();
    settings
}

fn app() -> LogosApp {
    LogosApp::new("logos".parse().unwrap(), settings()).unwrap()
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

async fn within<T>(what: &str, awaited: impl Future<Output = T>) -> T {
    let awaited = tokio::time::timeout(Duration::from_mins(1), awaited).await;
    awaited.unwrap_or_else(|_| panic!("waited for {what}"))
}

async fn reaches(source: &LogosSource, goal: u64) {
    let reached = async {
        while source.head().await.unwrap().height < goal {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(
        &format!("{} to be at height {goal}", source.name()),
        reached,
    )
    .await;
}

/// A cluster of three nodes of the rehearsed application, which is ready.
async fn three(site: &Site, app: &LogosApp) -> (Cluster, Vec<NodeHandle>) {
    let nodes = vec![
        node("NODE_1", &[]),
        node("NODE_2", &["NODE_1"]),
        node("NODE_3", &["NODE_1"]),
    ];
    let mut request = site.request(app.clone(), nodes);
    request.spec.ready_within = Duration::from_secs(20);
    let cluster = Cluster::boot(request, Journal::default()).await.unwrap();
    let handles = ["NODE_1", "NODE_2", "NODE_3"]
        .map(|text| cluster.node(&name(text)).unwrap())
        .into();
    (cluster, handles)
}

#[test]
fn where_nothing_says_how_a_node_is_run_it_is_said_what_to_set() {
    let nothing = program(&logos("logos", None).unwrap()).to_string();
    let begins = "a Logos node (set TRELLIS_LOGOS_NODE to a file that says how one is run";
    assert!(nothing.starts_with(begins), "{nothing}");
    assert!(!program(&logos("logos", None).unwrap()).is_on(Some("/usr/bin".as_ref())));
    assert!(program(&app()).is_on(None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_and_templates_are_all_that_a_cluster_of_logos_nodes_needs() {
    let site = Site::new("logos");
    let app = app();
    let (cluster, handles) = three(&site, &app).await;
    for handle in &handles {
        assert_eq!(handle.network.network.as_deref(), Some("test"));
        assert_eq!(handle.network.genesis, handles[0].network.genesis);
        reaches(&app.source(handle).unwrap(), 5).await;
    }
    let address = app.peer_address(&handles[0]).unwrap();
    assert!(address.starts_with("/ip4/127."), "{address}");

    let second = name("NODE_2");
    cluster.kill(&second).await.unwrap();
    let first = app.source(&handles[0]).unwrap();
    let away = first.head().await.unwrap().height;
    reaches(&first, away + 5).await;
    let back = cluster.start(&second).await.unwrap();
    assert_eq!(back.identity, handles[1].identity);
    reaches(&app.source(&back).unwrap(), away + 5).await;

    cluster.release().await.unwrap();
    site.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_nodes_are_asked_and_written_to_without_a_program() {
    let site = Site::new("logos-theirs");
    let theirs = app();
    let (running, handles) = three(&site, &theirs).await;
    reaches(&theirs.source(&handles[2]).unwrap(), 2).await;

    // Nothing says how a node is run here: all that is known of the nodes is where they answer.
    let ours_site = Site::new("logos-ours");
    let app = logos("logos", None).unwrap();
    let external = handles.iter().map(external).collect();
    let mut request = ours_site.request(app.clone(), Vec::new());
    request.spec.sources = ScenarioSources::ExternalOnly { external };
    request.spec.ready_within = Duration::from_secs(20);
    let borrowed = Cluster::boot(request, Journal::default()).await.unwrap();
    let node = borrowed.node(&name("NODE_3")).unwrap();
    assert_eq!(node.ownership, Ownership::Borrowed);
    assert_eq!(node.network.genesis, handles[2].network.genesis);

    let source = app.source(&node).unwrap();
    let mut stream = source.stream().await.unwrap().expect("this wire has one");
    let signed = payment(&node).await;
    let id = source.submit(&signed).await.unwrap();
    let included = async {
        loop {
            let streamed = stream.next().await.expect("the stream goes on").unwrap();
            let mut transactions = streamed.block.transactions.iter();
            if transactions.any(|found| found.id == id) {
                return streamed.block.header.id;
            }
        }
    };
    let block = within("the transaction to be in a block", included).await;
    let other = borrowed.node(&name("NODE_1")).unwrap();
    let other = app.source(&other).unwrap();
    let arrives = async {
        while !matches!(other.block(block).await, Ok(BlockAnswer::Found(_))) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the block to be at another node", arrives).await;
    assert!(other.peers().await.unwrap().count > 0);

    borrowed.release().await.unwrap();
    ours_site.assert_clean();
    // They never noticed.
    let first = theirs.source(&handles[0]).unwrap();
    reaches(&first, first.head().await.unwrap().height + 2).await;
    running.release().await.unwrap();
    site.assert_clean();
}

/// `node` as a scenario of somebody else would list it.
fn external(node: &NodeHandle) -> ExternalNode {
    let http = node.endpoint("http").unwrap();
    ExternalNode {
        name: node.name().clone(),
        endpoints: [Endpoint::new("http".parse().unwrap(), http.url().as_str()).unwrap()].into(),
        credential: None,
        listed_in: "a list".to_owned(),
    }
}

/// A payment of the first account of the chain that `node` is on.
async fn payment(node: &NodeHandle) -> SignedTransaction {
    let client = DevchainClient::new(node.endpoint("http").unwrap().url().as_str());
    let genesis = client.genesis().await.unwrap();
    let wallet = DevchainWallet::new(&genesis, 1);
    let key = wallet.public_key();
    let mut notes = genesis.notes().into_iter();
    let (id, note) = notes.find(|(_, note)| note.pk == key).unwrap();
    let to = DevchainWallet::new(&genesis, 2).public_key();
    let coins = [(id, note.value)].into();
    let built = wallet
        .transfer(&coins, &[(to, 100)], FeePayer::Own)
        .unwrap();
    SignedTransaction::Json(serde_json::to_string(&built.signed).unwrap().into())
}
