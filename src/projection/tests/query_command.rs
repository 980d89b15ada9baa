//! The `query` command: beside the owner of a store, and over HTTP, with the same answers.

mod queried;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use projection::{
    http::Server,
    query::http::{Authority, routes},
    settings::{Engine, Settings},
};
use queried::Queried;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A store that is owned by this process, with the settings of a node for it.
fn node() -> (tempfile::TempDir, Queried, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut queried = Queried::open(&path("store"), Engine::Mdbx, &["n"]);
    let ids = ["a", "b", "c", "d", "e"];
    let views = ids
        .iter()
        .zip([5, 3, 4, 1, 2])
        .map(|(id, n)| (*id, json!({"n": n, "name": id})));
    queried.put_all(&views.collect::<Vec<_>>());
    let manifest = "projections:\n- {view_type: thing, indexes: [n], program: {language: dag/v1, key: {event: aggregate_id}, view: {event: payload}}}\n";
    std::fs::write(path("manifest.yaml"), manifest).unwrap();
    let settings = format!(
        "stream: EVENTS\nstorage_path: {}\nmanifest: {}\n",
        path("store").display(),
        path("manifest.yaml").display()
    );
    std::fs::write(path("projection.yaml"), settings).unwrap();
    let settings = path("projection.yaml");
    (folder, queried, settings)
}

fn query(settings: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_projection"));
    command
        .args(["--settings"])
        .arg(settings)
        .arg("query")
        .args(arguments);
    command.output().unwrap()
}

fn lines(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn says(output: &Output, words: &str) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(words), "{words:?} is not in {text}");
}

#[test]
fn views_are_shown_beside_the_owner_of_their_store() {
    let (_folder, _owner, settings) = node();
    let output = query(
        &settings,
        &[
            "thing",
            "--filter",
            "{\"n\": {\"gte\": 3}}",
            "--sort",
            "n:desc",
            "--fields",
            "n",
        ],
    );
    assert_eq!(
        lines(&output),
        ["a\t{\"n\":5}", "c\t{\"n\":4}", "b\t{\"n\":3}"]
    );
    says(&output, "at event 1, 3 views looked at");
    let output = query(&settings, &["thing", "--id", "d", "--explain"]);
    assert_eq!(lines(&output), ["d\t{\"n\":1,\"name\":\"d\"}"]);
    says(&output, "\"through\":\"views\"");

    // Cursors of one call are good for the next, and all pages are what they are one by one.
    let page = |cursor: Option<&str>| -> Value {
        let mut arguments = vec!["thing", "--limit", "2", "--json"];
        arguments.extend(
            cursor
                .map(|cursor| ["--cursor", cursor])
                .into_iter()
                .flatten(),
        );
        serde_json::from_str(&lines(&query(&settings, &arguments))[0]).unwrap()
    };
    let mut one_by_one = Vec::new();
    let mut cursor = None;
    loop {
        let answer = page(cursor.as_deref());
        one_by_one.push(answer.clone());
        match answer["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    let all = lines(&query(
        &settings,
        &["thing", "--limit", "2", "--all", "--json"],
    ));
    let all: Vec<Value> = all
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(all, one_by_one);
    assert_eq!(all.len(), 3);
    assert!(lines(&query(&settings, &["thing", "--tenant", "other"])).is_empty());
}

#[test]
fn what_is_wrong_is_said_and_the_command_fails() {
    let (_folder, _owner, settings) = node();
    let cases = [
        (vec!["none"], "there is no view \"none\"; there are thing"),
        (vec!["thing", "--filter", "{"], "--filter is no JSON"),
        (
            vec!["thing", "--filter", "{\"n\": {\"gtx\": 1}}"],
            "filter.n.gtx is not an operator",
        ),
        (
            vec!["thing", "--sort", "n:up"],
            "sort.0.dir must be asc or desc",
        ),
        (
            vec!["thing", "--cursor", "AAAA"],
            "the cursor is not one of this query",
        ),
        (
            vec!["thing", "--min-seq", "2"],
            "the views are at 1 and not at 2",
        ),
        (
            vec!["thing", "--url", "http://127.0.0.1:1", "--tenant", "x"],
            "cannot be used with",
        ),
    ];
    for (arguments, words) in cases {
        let output = query(&settings, &arguments);
        assert!(!output.status.success(), "{arguments:?}");
        says(&output, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_asked_over_http_answers_the_same() {
    let (folder, queried, file) = node();
    let mut settings = Settings::default();
    settings.query_tokens = [("t-1".to_owned(), "".into())].into_iter().collect();
    let server = Server::bind(Some(SocketAddr::from(([127, 0, 0, 1], 0)))).await;
    let server = server.unwrap().unwrap();
    let url = format!("http://{}/", server.address());
    let stop = CancellationToken::new();
    let queries = routes(queried.engine.clone(), Authority::of(&settings));
    let serving = tokio::spawn(server.mount(queries).serve(stop.clone()));
    let ask = move || {
        let token = folder.path().join("token");
        std::fs::write(&token, "t-1\n").unwrap();
        let token = token.to_str().unwrap();
        let over_http = query(
            &file,
            &["thing", "--sort", "n", "--url", &url, "--token-file", token],
        );
        let of_folder = query(&file, &["thing", "--sort", "n"]);
        assert_eq!(lines(&over_http), lines(&of_folder));
        assert_eq!(lines(&over_http).len(), 5);
        let refused = query(&file, &["thing", "--url", &url]);
        assert!(!refused.status.success());
        says(
            &refused,
            "send Authorization: Bearer with a token (401 Unauthorized, unauthenticated)",
        );
    };
    tokio::task::spawn_blocking(ask).await.unwrap();
    stop.cancel();
    serving.await.unwrap();
}
