//! Another number of shards: nodes with the new number build their views beside nodes that serve, take over when they are ready, and nobody is answered wrongly meanwhile.

mod fleets;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use fleets::{Fleet, Place, balances, until};
use serde_json::{Value, json};

const EVENTS: u64 = 600;

/// Asks as what stands before the nodes does: whichever is ready.
struct Asker {
    nodes: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Asker {
    fn start(nodes: &[&str]) -> Self {
        let nodes: Vec<_> = nodes.iter().map(|base| (*base).to_owned()).collect();
        let nodes = Arc::new(Mutex::new(nodes));
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let (known, stopping, counting) =
            (Arc::clone(&nodes), Arc::clone(&stop), Arc::clone(&answered));
        let task = tokio::spawn(async move {
            let wanted = balances(EVENTS);
            let client = reqwest::Client::new();
            for turn in 0.. {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                let base = {
                    let all = known.lock().unwrap();
                    all[turn % all.len()].clone()
                };
                let Ok(ready) = client.get(format!("{base}/ready")).send().await else {
                    continue;
                };
                if !ready.status().is_success() {
                    continue;
                }
                let query = json!({"view": "account", "limit": 100});
                let asked = client.post(format!("{base}/v1/query")).bearer_auth("t");
                let Ok(answer) = asked.json(&query).send().await else {
                    continue;
                };
                if !answer.status().is_success() {
                    // Whoever asks asks again; it is no wrong answer.
                    continue;
                }
                let answer: Value = answer.json().await.unwrap();
                let rows = answer["rows"].as_array().unwrap().iter();
                let found = rows.map(|row| {
                    let id = row["id"].as_str().unwrap().to_owned();
                    (id, row["view"]["balance"].as_u64().unwrap())
                });
                assert_eq!(
                    found.collect::<std::collections::BTreeMap<_, _>>(),
                    wanted,
                    "{base}"
                );
                counting.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self {
            nodes,
            stop,
            answered,
            task,
        }
    }

    fn also(&self, base: &str) {
        self.nodes.lock().unwrap().push(base.to_owned());
    }

    fn not(&self, base: &str) {
        self.nodes.lock().unwrap().retain(|known| known != base);
    }

    async fn goes_on(&self) {
        let wanted = self.answered.load(Ordering::Relaxed) + 20;
        until("queries are answered", async || {
            assert!(!self.task.is_finished(), "an answer was wrong");
            (self.answered.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no answer was wrong");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_move_from_two_shards_to_three_while_queries_are_answered_and_none_is_wrong() {
    let Some(place) = Place::new().await else {
        return;
    };
    let context = place.nats.context().await;
    place.publish(&context, 1, EVENTS).await;
    let gated = "ready_lag_max: 0\n";
    let old = Fleet::of(2).with(gated);
    let (a, b) = (place.start(&old, "a"), place.start(&old, "b"));
    place.owned_by(&old, &["a", "b"]).await;
    a.has(EVENTS).await;
    let asker = Asker::start(&[&a.base, &b.base]);
    asker.goes_on().await;

    // The new number, the next generation, and storage of their own. Slowly, to be asked too early.
    let new = Fleet {
        name: "new",
        generation: 2,
        version: 2,
        ..Fleet::of(3).with(gated).with("catch_up_events_max: 5\n")
    };
    let (c, d) = (place.start(&new, "c"), place.start(&new, "d"));
    asker.also(&c.base);
    asker.also(&d.base);
    asker.goes_on().await;
    place.owned_by(&new, &["c", "d"]).await;
    c.has(EVENTS).await;
    // Both are there, each by its own leases.
    assert_eq!(place.owners(&old).await.len(), 2);
    let status = c.run(&["status", "--json"]).ended(0).out();
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(
        status["projections"].as_array().unwrap().len(),
        3,
        "{status}"
    );
    c.run(&["verify", "account"]).ended(0);
    for base in [&c.base, &d.base] {
        until("the new nodes are ready", async || {
            let ready = reqwest::get(format!("{base}/ready")).await.ok()?;
            ready.status().is_success().then_some(())
        })
        .await;
    }
    asker.goes_on().await;

    // The old ones are taken out, and stopped; nothing is left of them but their folders.
    asker.not(&a.base);
    asker.not(&b.base);
    a.leave();
    b.leave();
    assert!(place.owners(&old).await.is_empty());
    asker.goes_on().await;
    asker.end().await;
    place.publish(&context, EVENTS + 1, EVENTS + 50).await;
    d.has(EVENTS + 50).await;
    let views = d.views().await.unwrap();
    assert!(views.values().all(|view| view["version"] == 2), "{views:?}");

    c.leave();
    d.leave();
}
