//! Rebuilds by command, with a real server: of a node that runs and of its folder alone; and what `verify` finds.

mod nats;
mod rebuilds;

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use async_nats::jetstream::{Context, stream::RetentionPolicy};
use nats::{Nats, STREAM, servers};
use projection::{
    http::Server,
    rebuild::{self, Phase, http::Remote},
    storage::Part,
    stream::MemorySource,
    types::ViewKey,
};
use rebuilds::{dump, manifest, publish_through, served, settings, start, store, table};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Far longer than a node needs, so running out of it means that it does not get there.
const WITHIN: Duration = Duration::from_mins(1);

struct Node {
    folder: tempfile::TempDir,
    settings: PathBuf,
    url: String,
}

impl Node {
    fn new(nats: &Nats) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let text = format!(
            "nats_url: {}\nstream: {STREAM}\nstorage_path: {}\nmanifest: {}\nhttp_listen: {port}\nmulti_tenant: true\nrebuild_settled: 50ms\n",
            nats.url(),
            path("store").display(),
            path("manifest.yaml").display(),
        );
        let settings = path("projection.yaml");
        std::fs::write(&settings, text).unwrap();
        let node = Self {
            folder,
            settings,
            url: format!("http://{port}"),
        };
        node.set_version(1);
        node
    }

    fn set_version(&self, version: u64) {
        let text = format!(
            "projections:\n- {{view_type: account, program: {{language: dag/v1, key: {{event: aggregate_id}}, view: {{object: {{version: {version}, last: {{meta: stream_seq}}}}}}}}}}\n"
        );
        std::fs::write(self.folder.path().join("manifest.yaml"), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_projection"));
        command
            .arg("--settings")
            .arg(&self.settings)
            .args(arguments);
        command.env("RUST_LOG", "warn");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Says a command to the node from where nobody knows its settings.
    fn run_elsewhere(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_projection"));
        let elsewhere = tempfile::tempdir().unwrap();
        command.args(arguments).args(["--node", &self.url]);
        command.current_dir(elsewhere.path()).output().unwrap()
    }

    fn start(&self) -> Started {
        let mut command = self.command(&["run"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Started(command.spawn().unwrap())
    }

    fn store(&self) -> std::sync::Arc<projection::storage::ViewStore> {
        store(&self.folder.path().join("store"))
    }

    /// Compares until the node that runs has come to `floor`.
    fn verified_at(&self, floor: u64) -> Value {
        let until = Instant::now() + WITHIN;
        let mut last = Value::Null;
        while Instant::now() < until {
            let output = self.run(&["verify", "account", "--json"]);
            last = serde_json::from_slice(&output.stdout).unwrap_or_default();
            if last["floor"] == floor {
                assert!(output.status.success(), "{output:?}");
                return last;
            }
        }
        panic!("the node does not come to {floor}: {last}");
    }
}

/// A node that does not outlive its test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn stop(mut node: Started) {
    kill_process(Pid::from_child(&node.0), Signal::TERM).unwrap();
    assert_eq!(node.0.wait().unwrap().code(), Some(0));
}

async fn publish(context: &Context, from: u64, through: u64) {
    for number in from..=through {
        let acknowledged = context
            .publish(nats::subject(0), rebuilds::event(number).into())
            .await;
        acknowledged.unwrap().await.unwrap();
    }
}

#[track_caller]
fn does(output: &Output, words: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains(words),
        "{words:?} is not in {output:?}"
    );
}

#[track_caller]
fn refuses(output: &Output, words: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && text.contains(words),
        "{words:?} is not in {output:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_rebuilt_gone_back_and_cleared_by_command_while_it_runs_and_when_it_is_stopped() {
    let Some(program) = servers().into_iter().next() else {
        return;
    };
    let nats = Nats::start(&program);
    let context = nats.stream(RetentionPolicy::Limits).await;
    publish(&context, 1, 600).await;
    let node = Node::new(&nats);
    let running = node.start();
    assert_eq!(node.verified_at(600)["generation"], "account@1");

    // By the node that runs.
    does(&node.run(&["rebuild", "account"]), "account@2");
    publish(&context, 601, 700).await;
    assert_eq!(node.verified_at(700)["generation"], "account@2");
    let part = node.run(&[
        "rebuild", "account", "--tenant", "t-1", "--view", "a-3", "--json",
    ]);
    does(&part, "\"phase\":\"done\"");
    refuses(&node.run(&["retire", "account@2"]), "account@2 is served");
    does(
        &node.run(&["rollback", "account"]),
        "account@1 is served again",
    );
    assert_eq!(node.verified_at(700)["generation"], "account@1");
    does(&node.run(&["retire", "account@2"]), "account@2");
    refuses(&node.run(&["cutover", "account@2"]), "account@2");

    // From another machine.
    does(&node.run_elsewhere(&["rebuild", "account"]), "account@3");
    does(&node.run_elsewhere(&["verify", "account"]), "account@3");
    let view = ["rebuild", "account", "--view", "a-3"];
    refuses(&node.run_elsewhere(&view), "--tenant");
    let view = [&view[..], &["--tenant", "t-1", "--json"]].concat();
    does(&node.run_elsewhere(&view), "\"phase\":\"done\"");
    does(
        &node.run_elsewhere(&["rollback", "account"]),
        "account@1 is served again",
    );
    does(&node.run_elsewhere(&["retire", "account@3"]), "account@3");
    stop(running);
    refuses(&node.run_elsewhere(&["rollback", "account"]), &node.url);

    // On the folder alone.
    node.set_version(2);
    let rebuilt = node
        .command(&["rebuild", "account"])
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    does(&rebuilt, ", served");
    let (table, floor) = served(&node.store());
    assert_eq!(floor, 700);
    does(&node.run(&["verify", "account"]), "0 differ");
    does(
        &node.run(&["rollback", "account"]),
        "account@1 is served again",
    );
    let back = node.run(&["cutover", &table.to_string()]);
    does(&back, "is served now");
    let running = node.start();
    publish(&context, 701, 720).await;
    assert_eq!(node.verified_at(720)["generation"], table.to_string());
    stop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn verification_finds_one_byte_that_differs_and_the_rebuild_of_that_view_mends_it() {
    let Some(program) = servers().into_iter().next() else {
        return;
    };
    let nats = Nats::start(&program);
    let context = nats.stream(RetentionPolicy::Limits).await;
    publish(&context, 1, 300).await;
    let node = Node::new(&nats);
    let running = node.start();
    node.verified_at(300);
    stop(running);
    {
        let store = node.store();
        let (key, bytes) = dump(&store, &table(1)).swap_remove(5);
        let (tenant, id) = key.split_once(':').unwrap();
        let flipped = bytes.replacen("\"last\":", "\"lasu\":", 1);
        assert_ne!(flipped, bytes);
        let stood = store
            .snapshot()
            .unwrap()
            .checkpoint(&table(1))
            .unwrap()
            .unwrap();
        let mut part = Part::new(table(1), Some(300), stood);
        part.put(
            &ViewKey::new(tenant.into(), "account".into(), id.into()).unwrap(),
            Some(flipped.into_bytes()),
        );
        store.commit(&part.into()).unwrap();
    }
    let output = node.run(&["verify", "account", "--json"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["different"], 1);
    let key = found["differences"][0]["key"].as_str().unwrap().to_owned();
    let text = node.run(&["verify", "account"]);
    let lines: Vec<_> = BufReader::new(&text.stdout[..])
        .lines()
        .map_while(Result::ok)
        .collect();
    assert_eq!(lines[0], key);
    assert!(
        lines[1].contains("lasu") && lines[2].contains("last"),
        "{lines:?}"
    );

    let (tenant, id) = key.split_once(':').unwrap();
    does(
        &node.run(&["rebuild", "account", "--tenant", tenant, "--view", id]),
        ", done",
    );
    does(&node.run(&["verify", "account"]), "0 differ");
    // Nothing of the second readings is left.
    let left = std::fs::read_dir(node.folder.path()).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_is_shown_over_http_and_what_cannot_be_done_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (store, source) = (store(folder.path()), MemorySource::default());
    publish_through(&source, 0, 400);
    let node = start(&store, manifest(1, 1), &settings(), &source);
    node.wait_for_floor(&store, 400).await;
    let any = Some(([127, 0, 0, 1], 0).into());
    let server = Server::bind(any).await.unwrap().unwrap();
    let remote = Remote::at(&format!("http://{}", server.address()));
    let stop = CancellationToken::new();
    let routes = rebuild::http::routes(node.handle.clone());
    let serving = tokio::spawn(server.mount(routes).serve(stop.clone()));

    let account = || "account".to_owned();
    let refused = remote
        .ask(&rebuild::Command::Rollback {
            projection: account(),
            from: None,
        })
        .await;
    assert!(refused.unwrap_err().to_string().contains("no way back"));
    let unknown = remote
        .ask(&rebuild::Command::Rebuild {
            projection: "acount".to_owned(),
            from: 1,
            id: None,
        })
        .await;
    assert!(
        unknown
            .unwrap_err()
            .to_string()
            .contains("no projection acount")
    );
    let done = remote
        .ask(&rebuild::Command::Rebuild {
            projection: account(),
            from: 1,
            id: None,
        })
        .await
        .unwrap();
    assert_eq!(
        (done.generation.as_str(), done.goes_on),
        ("account@2", true)
    );
    node.wait_for("the cutover", || served(&store).0 == table(2))
        .await;
    let is_shown = || {
        let all = node.handle.progress();
        let all = all.borrow();
        all.iter()
            .any(|one| one.generation == "account@2" && one.phase == Phase::Served)
    };
    node.wait_for("it to be shown", is_shown).await;
    let shown = remote.show().await.unwrap();
    assert_eq!(shown.types[0].generations.served, 2);
    assert!(
        shown.progress.iter().any(|one| one.phase == Phase::Served),
        "{shown:?}"
    );
    stop.cancel();
    serving.await.unwrap();
    node.stop().await;
}
