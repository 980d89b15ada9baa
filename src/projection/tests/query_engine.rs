//! The engine: cursors that nobody else can make, budgets, waiting for events, plans, and views whose events wait.

mod accounts;
mod queried;

use std::{sync::Arc, time::Duration};

use projection::{
    pipeline::{Shard, ShardOptions},
    query::{CursorKey, Query, QueryEngine, QueryError, QueryLimits},
    settings::{Durability, Engine},
    stream::MemorySource,
    types::{TenantId, ViewId},
};
use queried::{Queried, ids};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

fn numbered(indexes: &[&str], views: u64) -> (tempfile::TempDir, Queried) {
    let folder = tempfile::tempdir().unwrap();
    let mut queried = Queried::open(folder.path(), Engine::Mdbx, indexes);
    let all = (0..views).map(|number| {
        let view = json!({"n": number * 7 % views, "even": number % 2 == 0, "name": {"first": format!("f{number}")}});
        ((String::new(), format!("{number:04}")), Some(view))
    });
    queried.put(&all.collect());
    (folder, queried)
}

fn query(text: &str) -> Query {
    Query::from_json(text.as_bytes()).unwrap()
}

#[test]
fn a_cursor_is_good_for_its_query_and_tenant_only_and_any_change_of_it_is_refused() {
    let (_folder, mut queried) = numbered(&["n"], 9);
    let other = (("other".to_owned(), "a".to_owned()), Some(json!({"n": 1})));
    queried.put(&[other].into());
    let ask = json!({"view": "thing", "sort": [{"field": "n"}], "limit": 2});
    let cursor = queried.ask("", &ask).unwrap().next_cursor.unwrap();
    let with = |cursor: &str, ask: &Value| {
        let mut ask = ask.clone();
        ask["cursor"] = json!(cursor);
        ask
    };
    // A page of another size goes on all the same.
    let mut larger = with(&cursor, &ask);
    larger["limit"] = json!(3);
    let page = queried.ask("", &larger).unwrap();
    let numbers: Vec<_> = page
        .rows
        .iter()
        .map(|row| row.view.value()["n"].clone())
        .collect();
    assert_eq!(numbers, [2, 3, 4]);

    let refused = |tenant: &str, ask: &Value| {
        let error = queried.ask(tenant, ask).unwrap_err();
        assert!(matches!(error, QueryError::CursorRefused), "{error}");
    };
    refused("other", &with(&cursor, &ask));
    refused(
        "",
        &with(
            &cursor,
            &json!({"view": "thing", "sort": [{"field": "n", "dir": "desc"}]}),
        ),
    );
    refused(
        "",
        &with(
            &cursor,
            &json!({"view": "thing", "sort": [{"field": "n"}], "filter": {"n": 2}}),
        ),
    );
    refused("", &with("", &ask));
    let number = |n: u64| json!({"view": "thing", "filter": {"n": {"gte": n}}, "limit": 1});
    let cursor_of_one = queried.ask("", &number(1)).unwrap().next_cursor.unwrap();
    refused("", &with(&cursor_of_one, &number(2)));
    for at in 0..cursor.len() {
        let mut bytes = cursor.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        refused("", &with(&String::from_utf8(bytes).unwrap(), &ask));
    }
    let elsewhere = QueryEngine::new(
        queried::manifest(&["n"]),
        Arc::clone(&queried.store),
        QueryLimits::default(),
        CursorKey::random(),
    );
    let gone_on = Query::from_value(&with(&cursor, &ask)).unwrap();
    let error = elsewhere.query_now(&TenantId::default(), &gone_on);
    assert!(matches!(error, Err(QueryError::CursorRefused)));
}

#[test]
fn a_spent_budget_gives_what_was_found_and_a_cursor_and_more_than_allowed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let limits = QueryLimits {
        limit_max: 5,
        rows_max: 10,
        ..QueryLimits::default()
    };
    let mut queried = Queried::with_limits(folder.path(), Engine::Mdbx, &[], limits);
    let views = (0..35).map(|number| {
        let id = format!("{number:02}");
        (
            (String::new(), id),
            Some(json!({"n": number, "last": number == 34})),
        )
    });
    queried.put(&views.collect());
    // The only view that is meant is the last one.
    let pages = queried.pages(
        "",
        &json!({"view": "thing", "filter": {"last": true}, "limit": 5}),
    );
    let partial: Vec<_> = pages.iter().map(|page| page.partial).collect();
    assert_eq!(partial, [true, true, true, false]);
    assert_eq!(pages[0].scanned.rows, 10);
    assert!(pages[0].rows.is_empty() && pages[0].next_cursor.is_some());
    assert_eq!(ids(&pages), ["34"]);

    // One view is looked at however small the budget is, so every answer comes further.
    let least = json!({"view": "thing", "budget": {"rows": 0, "bytes": 0, "within_ms": 0}});
    assert_eq!(ids(&queried.pages("", &least)).len(), 35);
    let bytes = json!({"view": "thing", "budget": {"bytes": 100}, "limit": 5});
    let page = queried.ask("", &bytes).unwrap();
    assert!(page.partial && page.scanned.bytes < 200, "{page:?}");

    let refusals = [
        (
            json!({"view": "thing", "limit": 6}),
            "limit must be at most 5",
        ),
        (
            json!({"view": "thing", "budget": {"rows": 11}}),
            "budget.rows must be at most 10",
        ),
        (
            json!({"view": "thing", "budget": {"within_ms": 5_000}}),
            "budget.within_ms must be at most 1s",
        ),
    ];
    for (ask, words) in refusals {
        let error = queried.ask("", &ask).unwrap_err().to_string();
        assert!(error.contains(words), "{words} is not in {error}");
    }
}

#[test]
fn what_is_wrong_with_a_query_is_named_with_what_is_allowed() {
    let (_folder, queried) = numbered(&[], 1);
    let view = |more: &str| format!("{{\"view\": \"thing\", {more}}}");
    let deep = "{\"not\": ".repeat(20) + "{\"n\": 1}" + &"}".repeat(20);
    let cases = [
        ("no JSON".to_owned(), "the query is no JSON"),
        ("[]".to_owned(), "the query must be an object"),
        ("{}".to_owned(), "view must be the name of a view"),
        (
            view("\"limti\": 1"),
            "has no member \"limti\"; allowed are view, filter",
        ),
        (view("\"tenant\": \"north\""), "has no member \"tenant\""),
        (
            view("\"tenant_id\": \"north\""),
            "has no member \"tenant_id\"",
        ),
        (
            view("\"filter\": {\"n\": {\"gtx\": 1}}"),
            "filter.n.gtx is not an operator; allowed are eq, ne, gt",
        ),
        (
            view("\"filter\": {\"n\": {}}"),
            "filter.n needs an operator",
        ),
        (
            view("\"filter\": {\"n\": {\"gt\": true}}"),
            "filter.n.gt must be a number or a text",
        ),
        (
            view("\"filter\": {\"n\": {\"in\": []}}"),
            "filter.n.in must be a list of 1 to 1000",
        ),
        (
            view("\"filter\": {\"n\": {\"prefix\": 1}}"),
            "filter.n.prefix must be a text",
        ),
        (
            view("\"filter\": {\"n\": {\"exists\": 1}}"),
            "filter.n.exists must be true or false",
        ),
        (
            view("\"filter\": {\"or\": []}"),
            "filter.or must be a list of filters",
        ),
        (view("\"filter\": {\"a..b\": 1}"), "\"a..b\" is not a path"),
        (
            view("\"filter\": {\"$seq\": 1}"),
            "there are $id, $last_seq and $applied",
        ),
        (view(&format!("\"filter\": {deep}")), "is deeper than 16"),
        (
            view("\"sort\": [{\"field\": \"n\", \"dir\": \"up\"}]"),
            "sort.0.dir must be asc or desc",
        ),
        (view("\"sort\": \"n\""), "sort must be a list of 1 to 4"),
        (view("\"fields\": [\"$id\"]"), "fields.0"),
        (view("\"limit\": 0"), "limit must be a whole number above 0"),
        (
            view("\"consistency\": {\"min_seq\": -1}"),
            "consistency.min_seq must be a whole number",
        ),
        (
            view("\"cursor\": 1"),
            "cursor must be the next_cursor of an answer",
        ),
        (
            "{\"view\": \"none\"}".to_owned(),
            "there is no view \"none\"; there are thing",
        ),
    ];
    for (text, words) in cases {
        let asked = Query::from_json(text.as_bytes())
            .and_then(|query| queried.engine.query_now(&TenantId::default(), &query));
        let error = asked.unwrap_err().to_string();
        assert!(error.contains(words), "{words:?} is not in {error:?}");
    }
}

#[test]
fn the_queries_of_the_manual_are_queries() {
    let manual = include_str!("../../../docs/src/reference/query.md");
    let blocks = manual.split("```json").skip(1);
    let examples = blocks.filter_map(|block| block.split("```").next());
    let mut queries = 0;
    for example in examples {
        let value: Value = serde_json::from_str(example).expect(example);
        let query = match &value {
            value if value.get("view").is_some() => value.clone(),
            answer if answer.get("rows").is_some() || answer.get("through").is_some() => continue,
            filter => json!({"view": "thing", "filter": filter}),
        };
        Query::from_value(&query).expect(example);
        queries += 1;
    }
    assert_eq!(queries, 3);
}

#[test]
fn a_plan_says_through_what_it_went_and_instead_of_what() {
    let (_folder, queried) = numbered(&["n", "even"], 3_000);
    let explained = |ask: Value| {
        let mut ask = ask;
        ask["explain"] = json!(true);
        let answer = queried.ask("", &ask).unwrap();
        (answer.explain.unwrap(), answer.scanned.rows)
    };
    let (plan, rows) =
        explained(json!({"view": "thing", "filter": {"n": {"gte": 10, "lt": 20}, "even": true}}));
    assert_eq!((plan.through.as_str(), plan.entries), ("index n", Some(10)));
    assert_eq!((plan.order, rows), ("sorted in memory", 10));
    assert_eq!(plan.instead_of, ["index even", "views"]);

    // An index that narrows down to half of all views is not worth its way.
    let (plan, rows) = explained(
        json!({"view": "thing", "filter": {"even": true}, "sort": [{"field": "n", "dir": "desc"}], "limit": 5}),
    );
    assert_eq!(
        (plan.through.as_str(), plan.order),
        ("index n", "as stored")
    );
    assert!(plan.backwards && rows < 20, "{rows} {plan:?}");

    let (plan, rows) =
        explained(json!({"view": "thing", "filter": {"$id": {"in": ["0001", "0002", "none"]}}}));
    assert_eq!((plan.through.as_str(), plan.ranges, rows), ("views", 3, 2));
    let (plan, _) = explained(json!({"view": "thing", "filter": {"name.first": "f7"}}));
    assert_eq!((plan.through.as_str(), plan.order), ("views", "as stored"));
}

#[test]
fn only_the_members_that_are_asked_for_are_answered_by_their_paths() {
    let (_folder, queried) = numbered(&[], 3);
    let answer = queried.ask(
        "",
        &json!({"view": "thing", "fields": ["name.first", "n", "none"], "limit": 1}),
    );
    let answer = serde_json::to_value(answer.unwrap()).unwrap();
    let row =
        json!({"id": "0000", "view": {"n": 0, "name.first": "f0"}, "last_seq": 1, "applied": 1});
    assert_eq!(answer["rows"][0], row);
    assert_eq!(answer["checkpoint"], 1);
}

/// A shard that runs, and an engine beside it.
struct Running {
    _folder: tempfile::TempDir,
    source: MemorySource,
    engine: QueryEngine,
    stop: CancellationToken,
    shard: tokio::task::JoinHandle<()>,
}

fn run(policy: &str, limits: QueryLimits) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let store = accounts::store(folder.path(), Durability::Commit);
    let manifest = accounts::manifest(policy);
    let options = ShardOptions::of(&accounts::settings(10, 1));
    let shard = Shard::new(manifest.clone(), Arc::clone(&store), options);
    let key = CursorKey::random();
    let engine = QueryEngine::watching(manifest, store, limits, key, shard.status());
    let (source, stop) = (MemorySource::default(), CancellationToken::new());
    let (mut reads, stopping) = (source.clone(), stop.clone());
    let shard = tokio::spawn(async move { shard.run(&mut reads, &stopping).await });
    Running {
        _folder: folder,
        source,
        engine,
        stop,
        shard,
    }
}

const WAITS: &str = r#"{"view": "account", "consistency": {"min_seq": 2}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_query_for_an_event_is_answered_as_soon_as_that_is_in_the_views() {
    let running = run("halt", QueryLimits::default());
    running.source.publish("ev", accounts::deposit("a", 1));
    let engine = running.engine.clone();
    let asked =
        tokio::spawn(async move { engine.query(&TenantId::default(), &query(WAITS)).await });
    running.source.publish("ev", accounts::deposit("a", 2));
    let answer = asked.await.unwrap().unwrap();
    assert!(answer.checkpoint >= 2);
    assert_eq!(answer.rows[0].view.value()["balance"], 3);
    assert_eq!(answer.lag, Some(0));
    let consistency = *Query::from_json(WAITS.as_bytes()).unwrap().consistency();
    let id = ViewId::from("a");
    let got = running
        .engine
        .get(&TenantId::default(), "account", &id, None, &consistency)
        .await;
    assert_eq!(got.unwrap().row.unwrap().last_seq, 2);
    running.stop.cancel();
    running.shard.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_does_not_come_is_waited_for_no_longer_than_was_said() {
    let running = run("halt", QueryLimits::default());
    running.source.publish("ev", accounts::deposit("a", 1));
    let reached = query(r#"{"view": "account", "consistency": {"min_seq": 1}}"#);
    running
        .engine
        .query(&TenantId::default(), &reached)
        .await
        .unwrap();
    let soon = query(r#"{"view": "account", "consistency": {"min_seq": 2, "within_ms": 30}}"#);
    let error = running
        .engine
        .query(&TenantId::default(), &soon)
        .await
        .unwrap_err();
    let QueryError::Behind {
        min_seq: 2,
        checkpoint: 1,
        waited,
    } = error
    else {
        panic!("{error}");
    };
    assert!(waited >= Duration::from_millis(30), "{waited:?}");
    // All that is allowed is far more.
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    let late = query(r#"{"view": "account", "consistency": {"min_seq": 2, "within_ms": 60000}}"#);
    let error = running
        .engine
        .query(&TenantId::default(), &late)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("consistency.within_ms must be at most 10s"),
        "{error}"
    );
    running.stop.cancel();
    running.shard.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn views_that_do_not_go_on_are_not_waited_for() {
    let running = run("halt", QueryLimits::default());
    running.source.publish("ev", accounts::deposit("a", 1));
    running
        .source
        .publish("ev", accounts::event("a", "Deposited", "\"one\""));
    let error = running
        .engine
        .query(&TenantId::default(), &query(WAITS))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            QueryError::Stalled {
                min_seq: 2,
                checkpoint: 0 | 1,
                ..
            }
        ),
        "{error}"
    );
    // What is before that event is on its way, and is waited for.
    let now = query(r#"{"view": "account", "consistency": {"min_seq": 1}}"#);
    assert_eq!(
        running
            .engine
            .query(&TenantId::default(), &now)
            .await
            .unwrap()
            .rows
            .len(),
        1
    );
    running.stop.cancel();
    running.shard.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_whose_events_wait_is_marked_and_others_are_not() {
    let running = run("park-key", QueryLimits::default());
    for id in ["a", "b"] {
        running.source.publish("ev", accounts::deposit(id, 1));
    }
    running
        .source
        .publish("ev", accounts::event("a", "Deposited", "\"one\""));
    let ask = query(
        r#"{"view": "account", "consistency": {"min_seq": 3}, "sort": [{"field": "balance"}]}"#,
    );
    let answer = running
        .engine
        .query(&TenantId::default(), &ask)
        .await
        .unwrap();
    let stale: Vec<_> = answer
        .rows
        .iter()
        .map(|row| (row.id.as_str(), row.stale))
        .collect();
    assert_eq!(stale, [("a", true), ("b", false)]);
    let get = async |id: &str| {
        let (tenant, id) = (TenantId::default(), ViewId::from(id));
        let got = running
            .engine
            .get(&tenant, "account", &id, None, ask.consistency());
        got.await.unwrap().row.unwrap().stale
    };
    assert!(get("a").await);
    assert!(!get("b").await);
    running.stop.cancel();
    running.shard.await.unwrap();
}
