//! Tests of what is no program: it is refused when it is loaded, with its place.

use super::*;

#[track_caller]
fn refused(source: Value, place: &str, what: &str) {
    let error = DagProgram::compile(&source, 1_000).unwrap_err();
    assert!(
        error.place.starts_with(place) && error.what.contains(what),
        "{error}"
    );
}

#[test]
fn what_is_no_program_is_refused_when_it_is_loaded() {
    let with = |view: Value| json!({"language": "dag/v1", "key": "k", "view": view});
    refused(
        json!({"language": "dag/v2", "key": "k", "view": 1}),
        "language",
        "is not dag/v1",
    );
    refused(
        json!({"language": "dag/v1", "view": 1}),
        "program",
        "either key",
    );
    refused(
        with(json!({"teleport": 1})),
        "view.teleport",
        "no such operation",
    );
    refused(
        with(json!({"add": ["text", 1]})),
        "view.add[0]",
        "Text where Int is wanted",
    );
    refused(
        with(json!({"if": [1, 2, 3]})),
        "view.if",
        "Int where Bool is wanted",
    );
    refused(with(json!({"const": 1.5})), "view.const", "whole");
    refused(with(json!({"ref": "a"})), "view.ref", "not in let");
    refused(
        json!({"language": "dag/v1", "key": {"view": "a"}, "view": 1}),
        "key.view",
        "cannot depend",
    );
    refused(
        json!({"language": "dag/v1", "key": 5, "view": 1}),
        "key",
        "text",
    );
    let circle = json!({"a": {"ref": "b"}, "b": {"ref": "a"}});
    refused(
        json!({"language": "dag/v1", "key": "k", "let": circle, "view": 1}),
        "let.",
        "needs itself",
    );
    let deep = (0..100).fold(json!(true), |inner, _| json!({ "not": inner }));
    refused(with(deep), "view.not", "deep");
    // Each name stands only on the one before it, and is compiled before it is needed.
    let chain = (0..100).map(|at| match at {
        0 => ("n000".to_owned(), json!(1)),
        _ => (
            format!("n{at:03}"),
            json!({"add": [{"ref": format!("n{:03}", at - 1)}, 1]}),
        ),
    });
    let chain: Map<_, _> = chain.collect();
    refused(
        json!({"language": "dag/v1", "key": "k", "let": chain, "view": 1}),
        "let.",
        "deep",
    );
}

#[test]
fn what_emits_loops_and_decimals_cannot_be_is_refused_too() {
    let with = |view: Value| json!({"language": "dag/v1", "key": "k", "view": view});
    let emit = |emit: Value| json!({"language": "dag/v1", "emit": [emit]});
    refused(
        emit(json!({"view_id": {"meta": "view_id"}, "delete": true})),
        "emit[0].view_id",
        "cannot depend",
    );
    refused(emit(json!({"view_id": "k"})), "emit[0]", "either");
    refused(
        json!({"language": "dag/v1", "key": "k"}),
        "program",
        "either key and view, or emit",
    );
    refused(
        json!({"language": "dag/v1", "let": {"seen": {"view": "a"}}, "emit": [
            {"view_id": "k", "new_view": {"ref": "seen"}}, {"view_id": {"ref": "seen"}, "delete": true}]}),
        "let.seen",
        "cannot depend",
    );
    let loop_of =
        |over: Value, give: Value| with(json!({"map": {"over": over, "as": "x", "give": give}}));
    refused(loop_of(json!("text"), json!(1)), "view.map.over", "List");
    refused(
        loop_of(json!([]), json!({"local": "y"})),
        "view.map.local",
        "\"y\"",
    );
    refused(
        loop_of(
            json!([]),
            json!({"map": {"over": [], "as": "x", "give": 1}}),
        ),
        "view.map",
        "twice",
    );
    refused(
        json!({"language": "dag/v1", "key": "k", "let": {"a": {"local": "x"}},
            "view": {"map": {"over": [], "as": "x", "give": {"ref": "a"}}}}),
        "let.a",
        "no loop around",
    );
    refused(
        with(json!({"decimal_round": {"of": "1", "scale": 29}})),
        "view.decimal_round",
        "scale",
    );
    refused(
        with(json!({"decimal_fly": ["1"]})),
        "view.decimal_fly",
        "no such",
    );
    refused(with(json!({"const": {"a": [1.5]}})), "view.const", "whole");
}
