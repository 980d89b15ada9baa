//! Clusters by hand, with the real command and real nodes: what a person starts stays until that person ends it, whatever else happens to it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    sync::Arc,
    time::Duration,
};

use openraft_kv::OpenRaftKv;
use tests::{
    by_hand::{Workbench, is_there, signal},
    outsiders::RaftOutsiders,
    signals::Signals,
    site::Site,
};
use trellis::UpClusters;
use trellis_bootstrap::{AttachProvider as _, BootstrapRequest, PlannedOperation, in_one_line};
use trellis_domain::{
    AttachSpec, Capability, NodeName, NodeState, Operation, OptIns, Origin, Ownership,
    ReadinessPolicy, ScenarioSources, ScenarioSpec,
};
use trellis_runtime::{Cluster, Journal};
use trellis_steps::outsiders::Outsiders as _;

const TOKEN: &str = "correct-horse-battery";

fn workbench() -> Workbench {
    let bench = Workbench::new(env!("CARGO_BIN_EXE_trellis-command"));
    bench.write("demo.toml", "nodes = 3\n");
    bench.write("one.toml", "nodes = 1\n");
    bench
}

fn app() -> OpenRaftKv {
    OpenRaftKv::new(env!("CARGO_BIN_EXE_openraft-kv-node"))
}

fn name(text: &str) -> NodeName {
    text.parse().expect("tests use valid names")
}

#[test]
fn a_person_looks_at_a_cluster_acts_on_it_and_ends_it() {
    let bench = workbench();
    let mut up = bench.up(&["demo.toml"]);
    up.until("NODE_3");

    let status = bench.done(&["status"]);
    assert!(
        status.starts_with("demo is up (openraft-kv from demo.toml"),
        "{status}"
    );
    assert!(status.contains("NODE_2  managed (local)  owned      running  http=http://127.0.0.1:"));
    let first = bench.pid("demo", "NODE_2");

    let stopped = bench.done(&["stop", "NODE_2"]);
    assert!(stopped.starts_with("NODE_2 stopped after"), "{stopped}");
    up.until("asks: stop NODE_2");
    up.until("NODE_2 is stopped");
    bench.refused(
        &["stop", "NODE_2"],
        1,
        &["cannot stop NODE_2 while it is stopped"],
    );
    assert_eq!(bench.status("demo")["nodes"][1]["state"], "stopped");
    let started = bench.done(&["start", "NODE_2"]);
    assert!(started.starts_with("NODE_2 started (pid "), "{started}");
    assert_ne!(bench.pid("demo", "NODE_2"), first);

    bench.done(&["restart", "NODE_3", "--with", "heartbeat_ms=60"]);
    up.until("asks: restart NODE_3 with heartbeat_ms=60");
    let wrong = ["restart", "NODE_3", "--with", "hartbeat_ms=60"];
    bench.refused(&wrong, 1, &[r#"the nearest known path is "heartbeat_ms""#]);
    bench.done(&["stop", "--kill", "NODE_1"]);
    bench.done(&["restart", "NODE_1"]);
    assert_eq!(bench.status("demo")["nodes"][0]["incarnation"], 2);

    let log = bench.done(&["logs", "NODE_3", "-n", "2"]);
    assert_eq!(log.lines().count(), 2, "{log}");
    let unknown = ["logs", "NODE_9"];
    bench.refused(
        &unknown,
        1,
        &["NODE_9", "known nodes: NODE_1, NODE_2, NODE_3"],
    );

    let pid = bench.pid("demo", "NODE_1");
    let down = bench.done(&["down"]);
    assert_eq!(down, "demo is down; ended NODE_1, NODE_2, NODE_3\n");
    assert!(!is_there(&pid));
    bench.assert_clean();
    assert_eq!(up.ended().0, Some(0));
    bench.refused(&["down"], 3, &["no cluster is up", "trellis up SPEC"]);
}

#[test]
fn a_log_is_followed_until_the_cluster_ends() {
    let bench = workbench();
    let up = bench.up(&["one.toml"]);
    let mut logs = bench.stays(&["logs", "NODE_1", "--follow"]);
    logs.until("node is up");
    bench.done(&["restart", "NODE_1"]);
    logs.until("--- start 2 ---");
    logs.until("node is up");
    bench.done(&["down"]);
    assert_eq!(logs.ended().0, Some(0));
    assert_eq!(up.ended().0, Some(0));
}

#[test]
fn a_name_is_used_once_and_several_clusters_are_told_apart() {
    let bench = workbench();
    let _one = bench.up(&["one.toml"]);
    let again = ["up", "one.toml"];
    bench.refused(
        &again,
        1,
        &[
            "a cluster one is up already (pid ",
            "trellis down --cluster one",
        ],
    );
    let _two = bench.up(&["one.toml", "--name", "two"]);

    let status = bench.done(&["status"]);
    assert!(
        status.contains("one is up") && status.contains("two is up"),
        "{status}"
    );
    bench.refused(&["stop", "NODE_1"], 2, &["--cluster: one, two"]);
    bench.refused(
        &["down", "-c", "tree"],
        3,
        &["no cluster tree is up", "one, two"],
    );
    bench.done(&["stop", "NODE_1", "--cluster", "two"]);
    assert_eq!(bench.status("one")["nodes"][0]["state"], "running");
    bench.done(&["down", "--cluster", "two"]);
    assert_eq!(bench.status("one")["nodes"][0]["state"], "running");
    bench.done(&["down"]);
    bench.assert_clean();
}

#[test]
fn each_signal_that_ends_a_terminal_ends_the_cluster_in_order() {
    let bench = workbench();
    for which in ["INT", "TERM", "HUP"] {
        let up = bench.up(&["one.toml"]);
        let pid = bench.pid("one", "NODE_1");
        up.signal(which);
        let (code, text) = up.ended();
        assert_eq!(code, Some(0), "{which}: {text}");
        assert!(
            text.contains("one is down; ended NODE_1"),
            "{which}: {text}"
        );
        assert!(!is_there(&pid), "{which} left the node");
        bench.assert_clean();
    }
}

#[test]
fn a_second_signal_ends_the_cluster_at_once() {
    let bench = workbench();
    let mut up = bench.up(&["one.toml"]);
    // A frozen node does not end when it is asked to, so the first signal has to wait.
    signal(&bench.pid("one", "NODE_1"), "STOP");
    up.signal("INT");
    up.until("once more ends it at once");
    up.signal("INT");
    assert_eq!(up.ended().0, Some(130));
    bench.done(&["clean"]);
    bench.assert_clean();
}

#[test]
fn a_killed_supervisor_is_noticed_cleaned_up_after_and_replaced() {
    let bench = workbench();
    for clean in [&["clean"][..], &["down"]] {
        let up = bench.up(&["one.toml"]);
        let pid = bench.pid("one", "NODE_1");
        up.signal("KILL");
        up.ended();
        let status = bench.done(&["status"]);
        assert!(
            status.contains("was killed") && status.contains("trellis clean"),
            "{status}"
        );
        bench.refused(
            &["stop", "NODE_1"],
            3,
            &["the supervisor of one", "was killed"],
        );
        let cleaned = bench.done(clean);
        assert!(cleaned.contains("removed"), "{cleaned}");
        assert!(!is_there(&pid));
        bench.assert_clean();
    }

    bench.up(&["one.toml"]).signal("KILL");
    let mut again = bench.stays(&["up", "one.toml"]);
    again.until("an earlier supervisor of one was killed");
    again.until("one is up");
    bench.done(&["clean"]);
    assert_eq!(bench.status("one")["nodes"][0]["state"], "running");
    bench.done(&["down"]);
    bench.assert_clean();
}

#[test]
fn a_node_that_ends_by_itself_is_told_of_with_its_last_lines() {
    let bench = workbench();
    let mut up = bench.up(&["demo.toml"]);
    signal(&bench.pid("demo", "NODE_2"), "KILL");
    up.until("NODE_2 ended by itself: killed by signal 9 (SIGKILL)");
    up.until("  | ");
    let status = bench.done(&["status"]);
    assert!(
        status.contains("exited (killed by signal 9 (SIGKILL))"),
        "{status}"
    );
    assert!(status.contains("NODE_2 logged last:\n  | "), "{status}");
    bench.done(&["start", "NODE_2"]);
    up.until("NODE_2 is running");
    bench.done(&["down"]);
}

#[test]
fn a_cluster_can_be_ended_while_it_is_brought_up() {
    let bench = workbench();
    // Nobody listens there.
    let text = "ready_within = \"1h\"\n[external.P]\nurl = \"http://127.0.0.1:1\"\n";
    bench.write("slow.toml", text);
    let mut up = bench.stays(&["up", "slow.toml"]);
    up.until("waiting for");
    assert_eq!(bench.status("slow")["phase"], "starting");
    bench.refused(&["stop", "P"], 1, &["slow is being brought up"]);
    assert_eq!(bench.done(&["down"]), "slow is down\n");
    assert_eq!(up.ended().0, Some(130));
    bench.assert_clean();
}

#[test]
fn whoever_ends_a_cluster_does_not_wait_for_the_next_one_of_the_same_name() {
    let bench = workbench();
    let mut first = bench.up(&["one.toml"]);
    let down = bench.stays(&["down"]);
    first.until("asks: end one");
    // Mostly before it has seen the end. Where it is later, this shows nothing, and is right all the same.
    down.signal("STOP");
    assert_eq!(first.ended().0, Some(0));

    let _second = bench.up(&["one.toml"]);
    down.signal("CONT");
    let (code, said) = down.ended();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(bench.status("one")["nodes"][0]["state"], "running");
    bench.done(&["down"]);
    bench.assert_clean();
}

#[test]
fn nodes_of_others_are_watched_and_left_alone() {
    let bench = workbench();
    let _theirs = bench.up(&["one.toml", "--name", "theirs"]);
    let url = bench.url("theirs", "NODE_1");
    bench.write(
        "seen.toml",
        &format!("[external.PUBLIC_1]\nurl = \"{url}\"\n"),
    );
    let mut up = bench.up(&["seen.toml"]);

    let stop = ["stop", "PUBLIC_1", "--cluster", "seen"];
    bench.refused(&stop, 1, &["refused to stop PUBLIC_1", "borrowed"]);
    bench.done(&["stop", "NODE_1", "--cluster", "theirs"]);
    up.until("PUBLIC_1 is not ready any more");
    up.until("PUBLIC_1 is unreachable");
    bench.done(&["start", "NODE_1", "--cluster", "theirs"]);
    up.until("PUBLIC_1 is running");

    let pid = bench.pid("theirs", "NODE_1");
    let down = bench.done(&["down", "--cluster", "seen"]);
    assert_eq!(down, "seen is down; left alone PUBLIC_1\n");
    assert_eq!(bench.pid("theirs", "NODE_1"), pid);
    bench.done(&["down"]);
    bench.assert_clean();
}

#[test]
fn what_is_wrong_with_a_spec_is_shown_where_it_stands() {
    let bench = workbench();
    bench.write("bad.toml", "nodes = 3\nready_witin = \"3s\"\n");
    let said = bench.trellis(&["up", "bad.toml"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    for part in [
        "bad.toml:2",
        "unknown key ready_witin",
        "did you mean ready_within?",
    ] {
        assert!(said.err.contains(part), "{part:?} is not in {}", said.err);
    }
    bench.refused(&["up", "none.toml"], 2, &["cannot read the spec none.toml"]);
    bench.write("other.toml", "app = \"kv\"\nnodes = 1\n");
    bench.refused(
        &["up", "other.toml"],
        2,
        &["the application kv", "openraft-kv"],
    );
    bench.assert_clean();
}

#[test]
fn a_client_of_another_version_is_told_so() {
    let bench = workbench();
    let _up = bench.up(&["one.toml"]);
    let socket = bench.state().join("clusters/one/control.sock");
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    writeln!(stream, r#"{{"version":99,"and":"more"}}"#).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert!(
        answer.contains("speaks version 1") && answer.contains("not 99"),
        "{answer}"
    );
    assert_eq!(bench.status("one")["phase"], "running");
}

/// Features attach as this does: through the provider, with nodes that they want to start and stop.
fn attach_request(
    bench: &Workbench,
    site: &Site,
    cluster: &str,
    opted_in: &[&str],
) -> BootstrapRequest {
    let attach = AttachSpec {
        provider: "up".to_owned(),
        cluster: cluster.to_owned(),
    };
    let sources = ScenarioSources::Attached {
        attach,
        external: Vec::new(),
    };
    let mut spec = ScenarioSpec::new("openraft-kv".parse().unwrap(), sources);
    for node in opted_in {
        spec.opt_ins.allow(name(node), Capability::Lifecycle);
    }
    let provider = UpClusters::new(bench.state()).asked_by("run-7");
    BootstrapRequest {
        spec,
        attach: vec![Arc::new(provider)],
        ..site.request(app(), Vec::new())
    }
}

/// The same as a cluster that is ready.
async fn attach(bench: &Workbench, site: &Site, opt_ins: OptIns) -> Cluster {
    let mut request = attach_request(bench, site, "demo", &[]);
    request.spec.opt_ins = opt_ins;
    Cluster::boot(request, Journal::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn features_borrow_the_nodes_and_do_what_they_opt_in_to() {
    let bench = workbench();
    let mut up = bench.up(&["demo.toml"]);
    let site = Site::new("attach");
    let cluster = attach(&bench, &site, OptIns::default()).await;
    let nodes = cluster.running();
    assert_eq!(nodes.len(), 3);
    for node in &nodes {
        assert_eq!(node.ownership, Ownership::Borrowed);
        let cluster = "up:demo".to_owned();
        assert!(node.origins.contains(&Origin::Attached { cluster }));
    }
    let refused = cluster.restart(&name("NODE_2")).await.unwrap_err();
    assert!(
        refused.to_string().contains("refused to restart NODE_2"),
        "{refused}"
    );
    cluster.release().await.unwrap();

    let mut opt_ins = OptIns::default();
    opt_ins.allow(name("NODE_2"), Capability::Lifecycle);
    opt_ins.allow(name("NODE_2"), Capability::Logs);
    let cluster = attach(&bench, &site, opt_ins).await;
    let before = bench.pid("demo", "NODE_2");
    cluster.restart(&name("NODE_2")).await.unwrap();
    up.until("run-7 asks: stop NODE_2");
    up.until("run-7 asks: start NODE_2");
    assert_ne!(bench.pid("demo", "NODE_2"), before);
    let tail = cluster.log_tail(&name("NODE_2"), 1).await.unwrap();
    assert_eq!(tail.lines.len(), 1);
    assert!(cluster.permit(&name("NODE_1"), Operation::Stop).is_err());

    cluster.stop(&name("NODE_2")).await.unwrap();
    assert_eq!(
        cluster.node(&name("NODE_2")).unwrap().state,
        NodeState::Stopped
    );
    cluster.release().await.unwrap();
    site.assert_clean();
    // It is the person's, and stays as the feature left it.
    assert_eq!(bench.status("demo")["phase"], "running");
    assert_eq!(bench.status("demo")["nodes"][1]["state"], "stopped");
    bench.done(&["down"]);
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opt_in_for_a_node_that_is_down_keeps_nobody_from_the_others() {
    let bench = workbench();
    let _up = bench.up(&["demo.toml"]);
    bench.done(&["stop", "NODE_3"]);
    let site = Site::new("down");
    let mut request = attach_request(&bench, &site, "demo", &["NODE_3"]);
    request.spec.readiness = ReadinessPolicy::Quorum(2);
    let cluster = Cluster::boot(request, Journal::default()).await.unwrap();
    assert_eq!(cluster.running().len(), 2);
    assert_eq!(cluster.missing()[0].name, name("NODE_3"));
    cluster.release().await.unwrap();

    let mut mistaken = attach_request(&bench, &site, "demo", &["NODE_9"]);
    mistaken.spec.readiness = ReadinessPolicy::Quorum(2);
    let error = Cluster::boot(mistaken, Journal::default()).await.err();
    let error = error.map(|error| in_one_line(&error)).unwrap_or_default();
    assert!(error.contains("NODE_9"), "{error}");
    site.assert_clean();
    bench.done(&["down"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_supervisor_borrows_itself_is_refused_before_anything_is_done() {
    let bench = workbench();
    let _theirs = bench.up(&["one.toml", "--name", "theirs"]);
    let url = bench.url("theirs", "NODE_1");
    bench.write(
        "seen.toml",
        &format!("[external.PUBLIC_1]\nurl = \"{url}\"\n"),
    );
    let _seen = bench.up(&["seen.toml"]);
    let site = Site::new("twice");
    let mut request = attach_request(&bench, &site, "seen", &["PUBLIC_1"]);
    request.planned.push(PlannedOperation {
        node: name("PUBLIC_1"),
        operation: Operation::Restart,
        step: "a.feature:5: I restart PUBLIC_1".to_owned(),
    });
    let error = Cluster::boot(request, Journal::default()).await.err();
    let error = error.map(|error| in_one_line(&error)).unwrap_or_default();
    assert!(
        error.contains("cannot restart PUBLIC_1: it would need the capability lifecycle"),
        "{error}"
    );
    site.assert_clean();
    bench.done(&["down", "--cluster", "seen"]);
    bench.done(&["down"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_credential_of_an_attached_cluster_opens_its_nodes() {
    let bench = workbench();
    let outsiders = RaftOutsiders::new(env!("CARGO_BIN_EXE_openraft-kv-node"), Signals::default());
    let token = Some(TOKEN.parse().unwrap());
    let theirs = outsiders.start(&[name("LAB_1")], token).await.unwrap();
    let listing = theirs.attach("static").unwrap().cluster;
    let attach = format!(
        "ready_within = \"5s\"\n[attach]\nprovider = \"static\"\ncluster = \"{listing}\"\n"
    );
    bench.write("token", TOKEN);
    let with_token = format!("{attach}credential = {{ bearer = {{ token_file = \"token\" }} }}\n");
    bench.write("lab.toml", &with_token);
    let _up = bench.up(&["lab.toml"]);
    assert_eq!(bench.status("lab")["nodes"][0]["state"], "running");
    bench.done(&["down"]);
    bench.assert_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_not_up_is_unknown_to_features_and_a_node_that_is_down_is_missing() {
    let bench = workbench();
    let clusters = UpClusters::new(bench.state());
    let unknown = clusters.discover("demo").await.unwrap_err();
    assert!(unknown.to_string().contains("trellis up SPEC"), "{unknown}");
    let _up = bench.up(&["demo.toml"]);
    bench.done(&["stop", "NODE_3"]);
    let found = clusters.discover("demo").await.unwrap();
    assert_eq!((found.nodes.len(), found.missing.len()), (2, 1));
    assert_eq!(found.missing[0].to_string(), "NODE_3 (stopped)");
    bench.done(&["down"]);
}
