//! Queries to nodes of several shards: whichever node is asked, the answer is that of one store.

mod accounts;
mod nats;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use accounts::{deposit, manifest, run_until, store};
use async_nats::jetstream::stream::RetentionPolicy;
use nats::{Nats, STREAM, servers};
use projection::{
    cluster::{Cluster, ClusterHealth, ClusterView, http::routes},
    http::{Server, ops},
    lease::MemoryBoard,
    query::{CursorKey, Query, QueryEngine, QueryLimits, http::Authority},
    settings::{Durability, Settings},
    stream::JetStreamSource,
};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SHARDS: u32 = 4;
const ACCOUNTS: u64 = 40;
const EVENTS: u64 = 200;
/// Far longer than anything here takes.
const WITHIN: Duration = Duration::from_mins(1);

struct Node {
    base: String,
    view: ClusterView,
    stop: CancellationToken,
    running: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

fn settings(nats: &Nats) -> Settings {
    let mut settings = Settings::default();
    settings.nats_url = nats.url();
    STREAM.clone_into(&mut settings.stream);
    settings.query_tokens = [("t".to_owned(), "".into())].into_iter().collect();
    settings.query_cursor_secret = Some("the same on all nodes".into());
    settings.lease_ttl = Duration::from_secs(1);
    settings.shards = SHARDS;
    settings.leases = Some("shards".to_owned());
    settings
}

async fn node(name: &str, nats: &Nats, board: &MemoryBoard) -> Node {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::bind(Some(([127, 0, 0, 1], 0).into())).await;
    let server = server.unwrap().unwrap();
    let base = format!("http://{}", server.address());
    let mut settings = settings(nats);
    folder.path().clone_into(&mut settings.storage_path);
    name.clone_into(&mut settings.node);
    settings.node_address = Some(base.clone());
    let authority = Authority::of(&settings);
    let board = Arc::new(board.for_another());
    let cluster = Cluster::on(board, settings.clone(), manifest("halt")).unwrap();
    let view = cluster.view();
    let stop = CancellationToken::new();
    let health = ClusterHealth::new(view.clone(), &settings, &manifest("halt"));
    let queries = routes(view.clone(), authority, QueryLimits::default());
    let server = server.mount(queries).mount(ops::routes(health));
    tokio::spawn(server.serve(stop.clone()));
    let stopping = stop.clone();
    let running = tokio::spawn(async move { cluster.run(&stopping).await });
    Node {
        base,
        view,
        stop,
        running,
        _folder: folder,
    }
}

impl Node {
    /// Waits until it has `shards`, and all of them have everything.
    async fn has(&self, shards: usize) {
        let mut hosted = self.view.hosted();
        let waiting = async {
            let mut owners = self.view.owners();
            let all = owners.wait_for(|owners| owners.len() == SHARDS as usize);
            all.await.unwrap();
            loop {
                let all = hosted.borrow_and_update().clone();
                if all.len() == shards && all.values().all(|hosted| hosted.queries.is_some()) {
                    for hosted in all.values() {
                        let mut status = hosted.status.clone();
                        let _ = status.wait_for(|status| status.has_reached(EVENTS)).await;
                    }
                    return;
                }
                hosted.changed().await.unwrap();
            }
        };
        tokio::time::timeout(WITHIN, waiting).await.unwrap();
    }

    async fn query(&self, query: &Value) -> (StatusCode, Value) {
        let request = Client::new().post(format!("{}/v1/query", self.base));
        let response = request.bearer_auth("t").json(query).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// Waits until what is answered at `path` is `right`.
    async fn until(&self, path: &str, right: impl Fn(StatusCode, &Value) -> bool) {
        let until = Instant::now() + WITHIN;
        loop {
            let (status, told) = self.get(path).await;
            if right(status, &told) {
                return;
            }
            assert!(Instant::now() < until, "{path}: {status} {told}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = Client::new().get(format!("{}{path}", self.base));
        let response = request.bearer_auth("t").send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }
}

/// All rows of `query`, page by page, each page from the next node.
async fn paged(nodes: &[&Node], mut query: Value) -> Vec<Value> {
    let mut all = Vec::new();
    for node in nodes
        .iter()
        .cycle()
        .take(usize::try_from(ACCOUNTS).unwrap() + 1)
    {
        let (status, answer) = node.query(&query).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let rows = answer["rows"].as_array().unwrap();
        assert!(rows.len() as u64 <= query["limit"].as_u64().unwrap());
        assert_eq!(answer["checkpoint"], EVENTS);
        all.extend(rows.iter().cloned());
        match answer.get("next_cursor") {
            Some(cursor) => query["cursor"] = cursor.clone(),
            None => return all,
        }
    }
    panic!("it does not end, with {} rows", all.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_node_answers_as_one_store_would_and_its_cursors_go_on_at_any_other() {
    let Some(program) = servers().into_iter().next() else {
        return;
    };
    let nats = Nats::start(&program);
    let context = nats.stream(RetentionPolicy::Limits).await;
    for number in 0..EVENTS {
        let payload = deposit(
            &format!("a-{}", number % ACCOUNTS),
            i64::try_from(number % 7).unwrap(),
        );
        context
            .publish(nats::subject('x'), payload.into())
            .await
            .unwrap()
            .await
            .unwrap();
    }
    let board = MemoryBoard::default();
    let (a, b) = (
        node("a", &nats, &board).await,
        node("b", &nats, &board).await,
    );
    a.has(2).await;
    b.has(2).await;

    let (_folder, engine) = one_store(&nats).await;

    for query in [
        json!({"view": "account"}),
        json!({"view": "account", "sort": [{"field": "$id", "dir": "desc"}]}),
        json!({"view": "account", "sort": [{"field": "balance", "dir": "desc"}], "fields": ["applied"]}),
        json!({"view": "account", "filter": {"balance": {"gte": 15}}, "sort": [{"field": "balance"}, {"field": "$last_seq", "dir": "desc"}]}),
    ] {
        let expected = engine
            .query(
                &"".into(),
                &Query::from_value(&limited(&query, 100)).unwrap(),
            )
            .await
            .unwrap();
        let expected = serde_json::to_value(expected.rows).unwrap();
        for limit in [1, 7, 40, 100] {
            let rows = paged(&[&a, &b], limited(&query, limit)).await;
            assert_eq!(json!(rows), expected, "{query} by {limit}");
        }
    }

    each_view_is_answered_by_both(&a, &b).await;
    what_is_not_to_be_answered_is_refused(&a, &b).await;
    a_node_says_how_all_its_shards_are(&a).await;
    each_shard_is_operated_where_it_is(&a, &b).await;

    // A node leaves: its shards are answered for by the other, which makes them from the stream.
    b.stop.cancel();
    b.running.await.unwrap();
    a.has(4).await;
    assert_eq!(
        paged(&[&a], json!({"view": "account", "limit": 9}))
            .await
            .len() as u64,
        ACCOUNTS
    );
    a.stop.cancel();
    a.running.await.unwrap();
}

fn limited(query: &Value, limit: u64) -> Value {
    let mut query = query.clone();
    query["limit"] = limit.into();
    query
}

/// All views in one store, and what answers from it.
async fn one_store(nats: &Nats) -> (tempfile::TempDir, QueryEngine) {
    let folder = tempfile::tempdir().unwrap();
    let whole = store(folder.path(), Durability::Commit);
    let mut source = JetStreamSource::connect(&settings(nats)).await.unwrap();
    let reached = |status: &projection::pipeline::ShardStatus| status.has_reached(EVENTS);
    let mut alone = settings(nats);
    alone.shards = 1;
    run_until(&whole, &manifest("halt"), &alone, &mut source, reached).await;
    let limits = QueryLimits::default();
    let engine = QueryEngine::new(
        manifest("halt"),
        Arc::clone(&whole),
        limits,
        CursorKey::random(),
    );
    (folder, engine)
}

async fn each_view_is_answered_by_both(a: &Node, b: &Node) {
    // One view, wherever it is; and the owner alone answers for a shard.
    for number in 0..ACCOUNTS {
        let path = format!("/v1/views/account/a-{number}");
        let (status, of_a) = a.get(&path).await;
        assert_eq!(status, StatusCode::OK);
        let of_b = b.get(&path).await.1;
        assert_eq!(
            (&of_a["view"], &of_a["last_seq"]),
            (&of_b["view"], &of_b["last_seq"])
        );
        assert_eq!(of_a["last_seq"], number + 1 + EVENTS - ACCOUNTS);
    }
    assert_eq!(
        a.get("/v1/views/account/nobody").await.0,
        StatusCode::NOT_FOUND
    );
}

async fn what_is_not_to_be_answered_is_refused(a: &Node, b: &Node) {
    let of_b = *b.view.hosted().borrow().keys().next().unwrap();
    let (status, refused) = a.get(&format!("/v1/shards/{of_b}/views/account/a-1")).await;
    assert_eq!(status, StatusCode::MISDIRECTED_REQUEST);
    assert!(
        refused["message"].as_str().unwrap().contains(&b.base),
        "{refused}"
    );
    let (_, shards) = a.get("/v1/shards").await;
    assert_eq!(shards.as_array().unwrap().len(), SHARDS as usize);
    assert_eq!(shards[of_b.number() as usize]["owner"]["node"], "b");

    // Nobody is answered without a token, or with a cursor that no node made.
    let open = Client::new()
        .post(format!("{}/v1/query", a.base))
        .body("{\"view\": \"account\"}");
    assert_eq!(
        open.send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    let forged = json!({"view": "account", "cursor": "WyJiIl0"});
    assert_eq!(a.query(&forged).await.0, StatusCode::BAD_REQUEST);
}

async fn a_node_says_how_all_its_shards_are(a: &Node) {
    for path in ["/health", "/ready"] {
        a.until(path, |status, _| status == StatusCode::OK).await;
    }
    let (_, report) = a.get("/status").await;
    let shards = report["projections"].as_array().unwrap().iter();
    let shards: BTreeSet<_> = shards.filter_map(|state| state["shard"].as_u64()).collect();
    assert_eq!(shards.len(), 2, "{report}");
    let text = Client::new().get(format!("{}/metrics", a.base)).send();
    let text = text.await.unwrap().text().await.unwrap();
    for shard in shards {
        let label = format!("projection_ready{{shard=\"{shard}\"}} 1");
        assert!(text.contains(&label), "{text}");
    }
    assert_eq!(text.matches("# TYPE projection_ready ").count(), 1);
}

async fn each_shard_is_operated_where_it_is(a: &Node, b: &Node) {
    let of_b = *b.view.hosted().borrow().keys().next().unwrap();
    let rebuild = format!("/shards/{of_b}/rebuild");
    // Who is not the owner passes it on, and not any further.
    let (status, of_a) = a.get(&rebuild).await;
    assert_eq!((status, of_a), b.get(&rebuild).await);
    let passed_on = Client::new()
        .get(format!("{}{rebuild}", a.base))
        .header("x-projection-passed-on", "1");
    let refused = passed_on.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::MISDIRECTED_REQUEST);
    let refused: Value = refused.json().await.unwrap();
    assert!(
        refused["message"].as_str().unwrap().contains(&b.base),
        "{refused}"
    );
    assert_eq!(a.get("/shards/4/rebuild").await.0, StatusCode::NOT_FOUND);
    let command = json!({"command": "rebuild", "projection": "account"});
    let asked = Client::new()
        .post(format!("{}{rebuild}", b.base))
        .json(&command)
        .send()
        .await
        .unwrap();
    assert_eq!(asked.status(), StatusCode::OK);
    b.until(&rebuild, |_, told| {
        let mut types = told["types"].as_array().into_iter().flatten();
        types.any(|of_type| of_type["generations"]["served"] == 2)
    })
    .await;
    let (status, listed) = b.get(&format!("/shards/{of_b}/quarantine/account")).await;
    assert_eq!((status, listed), (StatusCode::OK, json!([])));
    // What was made again is what all others have, and is found by whoever asks.
    b.until("/ready", |status, _| status == StatusCode::OK)
        .await;
    each_view_is_answered_by_both(a, b).await;
}
