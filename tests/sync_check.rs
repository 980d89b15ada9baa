//! `trellis sync-check` as people and scripts call it: what it writes and how it ends, on real nodes of a "public" chain that no harness knows of.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::chain_outsiders::OutsideNetwork;
use trellis_domain::NodeName;

/// What a call wrote and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(local: &[String], public: &[String], more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trellis-command"));
    command.arg("sync-check").arg("--local").args(local);
    command.arg("--public").args(public).args(more);
    command.stdin(Stdio::null());
    command
}

async fn check(local: &[String], public: &[String], more: &[&str]) -> Said {
    let mut command = command(local, public, more);
    let ran = tokio::task::spawn_blocking(move || command.output());
    let Output {
        status,
        stdout,
        stderr,
    } = ran.await.unwrap().expect("the command runs");
    Said {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

impl Said {
    /// The lines of JSON, the last one apart.
    fn json(&self) -> (Vec<Value>, Value) {
        let line = |line: &str| serde_json::from_str(line).expect("each line is JSON");
        let mut lines: Vec<Value> = self.out.lines().map(line).collect();
        let last = lines.pop().expect("there is a last line");
        (lines, last)
    }
}

async fn network(nodes: usize) -> OutsideNetwork {
    let name = |number| -> NodeName { format!("THEIRS_{number}").parse().unwrap() };
    let names: Vec<NodeName> = (1..=nodes).map(name).collect();
    let program = env!("CARGO_BIN_EXE_devchain-node").into();
    OutsideNetwork::start(program, &names).await.unwrap()
}

fn urls(network: &OutsideNetwork, which: impl IntoIterator<Item = usize>) -> Vec<String> {
    which.into_iter().map(|index| network.url(index)).collect()
}

/// An address where nobody listens.
fn nobody(number: u8) -> String {
    format!("http://127.0.255.{number}:9")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_follows_the_peers_is_synced_and_the_last_line_says_so() {
    let network = network(4).await;
    let (local, public) = (urls(&network, [3]), urls(&network, 0..3));

    let said = check(&local, &public, &["--json", "--within", "30s"]).await;
    let (looks, last) = said.json();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.err, "");
    assert!(
        looks
            .iter()
            .zip(1..)
            .all(|(look, number)| look["look"] == number),
        "{said:?}"
    );
    assert_eq!(last["done"], true);
    assert_eq!(
        (&last["verdict"], &last["exit_code"]),
        (&"synced".into(), &0.into())
    );
    assert_eq!(last["looks"], looks.len());
    assert_eq!(last["peers"].as_array().map(Vec::len), Some(3));
    assert!(last["target"]["height"].as_u64() > Some(0), "{last}");

    // For people, and of a wire that was said.
    let said = check(&local, &public, &["--wire", "logos", "--within", "30s"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.out.contains("all nodes follow the chain of"),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_network_fails_at_once_and_a_peer_of_another_is_not_believed() {
    let (ours, other) = (network(3).await, network(1).await);

    let begun = Instant::now();
    let public = urls(&ours, 0..3);
    let said = check(&urls(&other, [0]), &public, &["--json", "--within", "2m"]).await;
    let (_, last) = said.json();
    assert_eq!(said.code, Some(4), "{said:?}");
    assert_eq!(last["verdict"], "other_network");
    assert_ne!(
        last["other_network"]["its"],
        last["other_network"]["theirs"]
    );
    assert!(said.err.contains("is on another network"), "{said:?}");
    assert!(begun.elapsed() < Duration::from_mins(1), "not at once");

    // One of three is a liar, and the other two are still a majority.
    let public = [urls(&ours, [0, 1]), urls(&other, [0])].concat();
    let said = check(&urls(&ours, [2]), &public, &["--json", "--within", "30s"]).await;
    let (_, last) = said.json();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(last["peers"][2]["state"], "lying");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_peers_are_no_target_however_synced_the_node_is_with_the_rest() {
    let network = network(2).await;
    let public = [urls(&network, [0]), vec![nobody(1), nobody(2)]].concat();

    let said = check(&urls(&network, [1]), &public, &["--json", "--within", "4s"]).await;
    let (looks, last) = said.json();
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(looks.len() > 1, "{said:?}");
    assert_eq!(last["timed_out"], true);
    assert_eq!(last["no_target"]["why"], "too_few");
    assert_eq!(last["no_target"]["usable"], 1);
    assert_eq!(last["peers"][1]["state"], "unreachable");
    assert!(
        said.err
            .contains("not synced within 4s: only 1 peers answer"),
        "{said:?}"
    );

    // When nobody answers at all, not even a wire can be found out.
    let public: Vec<String> = (1..4).map(nobody).collect();
    let said = check(&[nobody(4)], &public, &["--within", "1s"]).await;
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(
        said.out.contains("no node answers: 127.0.255.4:9"),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_on_two_chains_are_split_and_a_node_on_the_smaller_one_is_forked() {
    let network = network(5).await;
    // Nodes 0 and 1 on one side, the other three on the other one.
    network.split_in_two().await.unwrap();
    let height = network
        .client(0)
        .info()
        .await
        .unwrap()
        .cryptarchia_info
        .height;
    network.reaches(height + 8).await.unwrap();

    let public = urls(&network, [0, 1, 2, 3]);
    let within = ["--json", "--within", "4s"];
    let said = check(&urls(&network, [4]), &public, &within).await;
    let (_, last) = said.json();
    assert_eq!(said.code, Some(3), "{said:?}");
    assert_eq!(last["no_target"]["why"], "split");
    assert_eq!(last["no_target"]["branches"][0]["peers"], 2);
    assert!(said.err.contains("the peers are split"), "{said:?}");

    let said = check(&urls(&network, [1]), &urls(&network, [2, 3, 4]), &within).await;
    let (_, last) = said.json();
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(last["verdict"], "forked");
    assert_eq!(last["locals"][0]["state"], "forked");
}

async fn height_of(network: &OutsideNetwork, node: usize) -> u64 {
    let info = network.client(node).info().await.unwrap();
    info.cryptarchia_info.height
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_without_new_blocks_stall_for_who_is_behind_and_whoever_is_ahead_is_synced() {
    let network = network(5).await;
    // Only node 4 makes blocks, so that nobody is on a branch of its own once there are new ones.
    network.lead_no_more(0..4).await.unwrap();
    let mut highest = 0;
    for node in 0..5 {
        highest = highest.max(height_of(&network, node).await);
    }
    network.reaches(highest + 1).await.unwrap();
    // Node 3 stays where it is: nobody tells it anything.
    network.client(3).block_peers(["*"]).await.unwrap();
    let low = height_of(&network, 3).await;
    network.reaches_of([0, 1, 2, 4], low + 5).await.unwrap();
    // Node 4 goes on alone, on top of where the others stay.
    for peer in 0..3 {
        network.client(peer).block_peers(["*"]).await.unwrap();
    }
    let high = height_of(&network, 0).await;
    network.reaches_of([4], high + 4).await.unwrap();

    let public = urls(&network, 0..3);
    let stall = ["--json", "--within", "6s", "--stall-after", "2s"];
    let said = check(&urls(&network, [3]), &public, &stall).await;
    let (looks, last) = said.json();
    assert_eq!(said.code, Some(3), "{said:?}");
    assert_eq!(looks[0]["verdict"], "not_yet");
    assert_eq!(last["no_target"]["why"], "stalled");
    assert!(said.err.contains("the peers stall at"), "{said:?}");

    let said = check(&urls(&network, [4]), &public, &stall).await;
    let (_, last) = said.json();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(last["locals"][0]["state"], "ahead");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_ends_it_with_a_code_of_its_own() {
    let network = network(1).await;
    let public = [urls(&network, [0]), vec![nobody(1), nobody(2)]].concat();
    let mut command = command(&[nobody(3)], &public, &["--json"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = tokio::task::spawn_blocking(move || interrupted(&mut child));
    let said = ended.await.unwrap();
    let (_, last) = said.json();
    assert_eq!(said.code, Some(130), "{said:?}");
    assert_eq!(last["verdict"], "interrupted");
}

/// Interrupts a call when it has looked once.
fn interrupted(child: &mut Child) -> Said {
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    out.read_line(&mut text).unwrap();
    tests::by_hand::signal(&child.id().to_string(), "INT");
    out.read_to_string(&mut text).unwrap();
    let mut err = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    let code = child.wait().unwrap().code();
    Said {
        code,
        out: text,
        err,
    }
}

#[tokio::test]
async fn a_wrong_call_is_refused_before_anybody_is_asked() {
    let peers = [nobody(1), nobody(2)];
    let local = [nobody(3)];
    for (local, public, more, part) in [
        (&local[..], &peers[..], &["--lag", "few"][..], "--lag"),
        (&local, &peers, &["--wire", "smoke"], "smoke"),
        (&local, &local, &[], "given twice"),
        (
            &local,
            &peers,
            &["--public-user-env", "SOMEBODY"],
            "--public-password-env",
        ),
        (
            &local,
            &peers,
            &[
                "--public-user-env",
                "NO_SUCH_USER",
                "--public-password-env",
                "NO_SUCH_WORD",
            ],
            "NO_SUCH_USER",
        ),
        (&["env(NO_SUCH_URL)".to_owned()], &peers, &[], "NO_SUCH_URL"),
        (&["ftp://127.0.0.1".to_owned()], &peers, &[], "ftp"),
        (
            &["http://me:hidden@127.0.0.1".to_owned()],
            &peers,
            &[],
            "credential in it",
        ),
    ] {
        let said = check(local, public, more).await;
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.err.contains(part), "{part:?} is not in {said:?}");
        assert!(!said.err.contains("hidden"), "{said:?}");
    }
}

#[tokio::test]
async fn the_help_says_the_exit_codes() {
    let said = Command::new(env!("CARGO_BIN_EXE_trellis-command"))
        .args(["sync-check", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(said.stdout).unwrap();
    for part in [
        "0 synced",
        "1 not synced",
        "2 the call",
        "3 there was nothing",
        "4 a node",
        "130",
    ] {
        assert!(help.contains(part), "{part:?} is not in {help}");
    }
}
