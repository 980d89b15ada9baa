//! Fleets: nodes as processes that share the shards of a stream on a real server, and the commands that an operator says to them.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use async_nats::jetstream::{Context, stream::RetentionPolicy};
use projection::{
    lease::{LeaseBoard, NatsBoard, Owners, survey},
    shards::ShardId,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

#[path = "nats.rs"]
pub(crate) mod nats;

use nats::{Nats, servers};

/// Far longer than anything here takes, so running out of it means that it does not happen.
pub(crate) const WITHIN: Duration = Duration::from_mins(1);

/// What nodes of one number of shards are told.
#[derive(Clone)]
pub(crate) struct Fleet {
    /// What its folders are called after.
    pub(crate) name: &'static str,
    pub(crate) shards: u32,
    pub(crate) generation: u32,
    /// By which program: it is in each view.
    pub(crate) version: u64,
    /// More settings.
    pub(crate) more: String,
}

impl Fleet {
    pub(crate) fn of(shards: u32) -> Self {
        Self {
            name: "fleet",
            shards,
            generation: 1,
            version: 1,
            more: String::new(),
        }
    }

    pub(crate) fn with(mut self, more: &str) -> Self {
        self.more.push_str(more);
        self
    }
}

/// A place for fleets on one server.
pub(crate) struct Place {
    pub(crate) nats: Nats,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) stream: String,
}

impl Place {
    /// `None` where there is no server.
    pub(crate) async fn new() -> Option<Self> {
        let nats = Nats::start(&servers().into_iter().next()?);
        nats.stream(RetentionPolicy::Limits).await;
        Some(Self {
            stream: nats::STREAM.to_owned(),
            nats,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    /// Publishes the events from `first` to `last`, one account after the other.
    pub(crate) async fn publish(&self, context: &Context, first: u64, last: u64) {
        for number in first..=last {
            let event = event(number);
            let sent = context.publish(nats::subject(number), event.into()).await;
            assert_eq!(sent.unwrap().await.unwrap().sequence, number);
        }
    }

    /// A node that runs.
    pub(crate) fn start(&self, fleet: &Fleet, node: &'static str) -> Node {
        let port = free_port();
        let settings = self.settings(fleet, node, Some(port));
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_of(fleet, node))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_projection"))
            .arg("--settings")
            .arg(&settings)
            .arg("run")
            .env("RUST_LOG", "info,async_nats=warn")
            .stderr(Stdio::from(log))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Node {
            name: node,
            base: format!("http://127.0.0.1:{port}"),
            settings,
            child,
        }
    }

    fn log_of(&self, fleet: &Fleet, node: &str) -> PathBuf {
        self.folder
            .path()
            .join(format!("{}-{node}.log", fleet.name))
    }

    pub(crate) fn log(&self, fleet: &Fleet, node: &str) -> String {
        std::fs::read_to_string(self.log_of(fleet, node)).unwrap_or_default()
    }

    pub(crate) fn settings(&self, fleet: &Fleet, node: &str, port: Option<u16>) -> PathBuf {
        let path = |what: &str| self.folder.path().join(format!("{}-{what}", fleet.name));
        let manifest = path("manifest.yaml");
        let Fleet {
            generation,
            version,
            ..
        } = fleet;
        let text = format!(
            "projections:
- view_type: account
  generation: {generation}
  program:
    language: dag/v1
    key: {{event: aggregate_id}}
    view:
      object:
        version: {version}
        balance: {{add: [{{coalesce: [{{view: balance}}, 0]}}, {{event: payload.amount}}]}}
"
        );
        std::fs::write(&manifest, text).unwrap();
        let http = port.map_or_else(
            || "http_listen: none\n".to_owned(),
            |port| {
                format!("http_listen: 127.0.0.1:{port}\nnode_address: http://127.0.0.1:{port}\n")
            },
        );
        let text = format!(
            "nats_url: {}\nstream: {}\nstorage_path: {}\nmanifest: {}\nbatch_events_max: 20\nheartbeat: 500ms\nshards: {}\nleases: {}\nnode: {node}\nrebuild_settled: 50ms\nquery_tokens: {{t: \"\"}}\noperator_token: o\nquery_cursor_secret: the same on all nodes\n{http}{}",
            self.nats.url(),
            self.stream,
            path(node).display(),
            manifest.display(),
            fleet.shards,
            self.stream,
            fleet.more,
        );
        let text = if fleet.more.contains("lease_ttl") {
            text
        } else {
            format!("{text}lease_ttl: 2s\n")
        };
        let file = path(&format!("{node}.yaml"));
        std::fs::write(&file, text).unwrap();
        file
    }

    pub(crate) async fn owners(&self, fleet: &Fleet) -> Owners {
        let board = NatsBoard::connect(&self.nats.url(), &self.stream)
            .await
            .unwrap();
        let posted = board.read().await;
        posted
            .map(|posted| survey(fleet.shards, &posted))
            .unwrap_or_default()
    }

    /// Waits until `nodes`, and no others, have all shards, each its even share.
    pub(crate) async fn owned_by(&self, fleet: &Fleet, nodes: &[&str]) -> Owners {
        until(&format!("all is owned by {nodes:?}"), async || {
            let owners = self.owners(fleet).await;
            let mut counts: BTreeMap<&str, usize> = nodes.iter().map(|node| (*node, 0)).collect();
            for owner in owners.values() {
                *counts.entry(owner.member.node.as_str()).or_default() += 1;
            }
            let even = counts.values().max()? - counts.values().min()? <= 1;
            let whole = owners.len() == fleet.shards as usize && counts.len() == nodes.len();
            (even && whole).then_some(owners)
        })
        .await
    }
}

/// The event `number`, counted from 1.
pub(crate) fn event(number: u64) -> String {
    format!(
        r#"{{"aggregate_id":"a-{}","aggregate_type":"account","event_type":"Deposited","payload":{{"amount":{}}},"timestamp":"2026-01-01T00:00:00Z"}}"#,
        number % 40,
        number % 7
    )
}

/// The balance of each account after `last` events.
pub(crate) fn balances(last: u64) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for number in 1..=last {
        *all.entry(format!("a-{}", number % 40)).or_default() += number % 7;
    }
    all
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A node that runs until it is dropped.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) base: String,
    pub(crate) settings: PathBuf,
    child: Child,
}

impl Node {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn leave(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.name);
    }

    /// A command with the settings of the node.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_projection"));
        command
            .arg("--settings")
            .arg(&self.settings)
            .args(arguments)
            .env("RUST_LOG", "warn");
        command
    }

    /// Says a command to the node from where nobody knows its settings, but for the token of operators.
    pub(crate) fn run_elsewhere(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_projection"));
        command
            .args(arguments)
            .args(["--node", &self.base])
            .env("PROJECTION_OPERATOR_TOKEN", "o")
            .env("RUST_LOG", "warn");
        Said(command.output().unwrap())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        Said(self.command(arguments).output().unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let request = reqwest::Client::new().get(format!("{}{path}", self.base));
        // What is no query is for operators.
        let token = if path.starts_with("/v1/") { "t" } else { "o" };
        match request.bearer_auth(token).send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                (status, answer.json().await.unwrap_or_default())
            }
            Err(_) => (0, Value::Null),
        }
    }

    /// All views, by a query to all shards: each id with its view.
    pub(crate) async fn views(&self) -> Option<BTreeMap<String, Value>> {
        let query = serde_json::json!({"view": "account", "limit": 100});
        let request = reqwest::Client::new().post(format!("{}/v1/query", self.base));
        let answer = request.bearer_auth("t").json(&query).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let answer: Value = answer.json().await.ok()?;
        let rows = answer["rows"].as_array()?.iter();
        rows.map(|row| Some((row["id"].as_str()?.to_owned(), row["view"].clone())))
            .collect()
    }

    /// Waits until all balances are those of `last` events.
    pub(crate) async fn has(&self, last: u64) {
        let wanted = balances(last);
        until(&format!("{} has {last} events", self.name), async || {
            let views = self.views().await?;
            let found: BTreeMap<_, _> = views
                .into_iter()
                .filter_map(|(id, view)| Some((id, view["balance"].as_u64()?)))
                .collect();
            (found == wanted).then_some(())
        })
        .await;
    }

    /// What each shard says of its generations of accounts, whoever owns it.
    pub(crate) async fn generations(&self, shards: u32) -> Vec<Value> {
        let mut all = Vec::new();
        for shard in 0..shards {
            // It may be changing hands at the moment.
            let what = format!("shard {shard} answers");
            let told = until(&what, async || {
                let (status, told) = self.get(&format!("/shards/{shard}/rebuild")).await;
                (status == 200).then_some(told)
            });
            all.push(told.await["types"][0]["generations"].clone());
        }
        all
    }

    /// The generations that are served, of all shards.
    pub(crate) async fn served(&self, shards: u32) -> Vec<u64> {
        let all = self.generations(shards).await;
        all.iter()
            .map(|one| one["served"].as_u64().unwrap())
            .collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said(pub(crate) Output);

impl Said {
    pub(crate) fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// That it ended with `code`.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "{}{}", self.out(), self.err());
        self
    }

    /// The lines of the answer that begin with the name of a shard, by that.
    pub(crate) fn of_shards(&self) -> BTreeMap<ShardId, String> {
        let out = self.out();
        let lines = out.lines().filter_map(|line| {
            let (shard, rest) = line.strip_prefix("shard ")?.split_once(": ")?;
            Some((shard.parse().ok()?, rest.to_owned()))
        });
        lines.collect()
    }

    /// What is to be done, as it says.
    pub(crate) fn mends(&self) -> BTreeSet<String> {
        let out = self.out();
        let lines = out
            .lines()
            .filter_map(|line| line.trim().strip_prefix("mend: "));
        lines.map(str::to_owned).collect()
    }
}

/// Asks until there is an answer.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WITHIN;
    while Instant::now() < deadline {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("within {WITHIN:?} it never came that {what}");
}
