//! Tests of `dag/v1`: what programs do, what they cost, and what is no program.

mod emits;
mod loops;
mod refusals;

use proptest::prelude::*;
use serde_json::json;

use super::{eval::Given, *};
use crate::types::{TenantId, ViewType};

fn account() -> Value {
    json!({
        "language": "dag/v1",
        "when": {"eq": [{"event": "aggregate_type"}, "account"]},
        "key": {"event": "aggregate_id"},
        "let": {
            "amount": {"event": "payload.amount"},
            "before": {"coalesce": [{"view": "balance"}, 0]},
        },
        "view": {"object": {
            "balance": {"switch": {
                "on": {"event": "event_type"},
                "cases": {
                    "Deposited": {"add": [{"ref": "before"}, {"ref": "amount"}]},
                    "Withdrawn": {"sub": [{"ref": "before"}, {"ref": "amount"}]},
                },
                "default": {"ref": "before"},
            }},
            "count": {"add": [{"coalesce": [{"view": "count"}, 0]}, 1]},
        }},
    })
}

fn event(event_type: &str, payload: Value) -> Envelope {
    serde_json::from_value(json!({
        "tenant_id": "t", "aggregate_id": "a-1", "aggregate_type": "account",
        "event_type": event_type, "payload": payload, "timestamp": "now",
    }))
    .unwrap()
}

fn with_meta<T>(body: impl FnOnce(&Meta<'_>) -> T) -> T {
    let (tenant, view_type) = (TenantId::from("t"), ViewType::from("account"));
    body(&Meta {
        stream_seq: 7,
        tenant: &tenant,
        view_type: &view_type,
        view_id: Some(&ViewId::from("k")),
    })
}

fn project(
    program: &DagProgram,
    view: Option<&Value>,
    event: &Envelope,
) -> Result<Outcome, ProgramError> {
    with_meta(|meta| program.project(view, event, meta))
}

/// What `program` makes of a view, and what that costs.
fn metered(program: &DagProgram, view: Option<&Value>, event: &Envelope) -> (Option<Value>, u64) {
    with_meta(|meta| {
        let mut run = program.run(view, event, meta);
        let made = run.eval(&program.emits[0].new_view);
        (made.ok().map(Given::into_value), run.gas_used())
    })
}

/// What `step` gives as the view, from a view of `{"list": [1, 2], "name": "Ada"}`.
#[track_caller]
fn check(step: Value, wanted: Value) {
    let source = json!({"language": "dag/v1", "key": "k", "view": {"object": {"it": step}}});
    let program = DagProgram::compile(&source, 10_000).unwrap();
    let view = json!({"list": [1, 2], "name": "Ada"});
    let outcome = project(&program, Some(&view), &event("E", json!({"n": 3}))).unwrap();
    assert_eq!(outcome, Outcome::View(json!({ "it": wanted })));
}

#[test]
fn each_operation_does_what_its_name_says() {
    check(json!({"add": [1, 2, {"event": "payload.n"}]}), json!(6));
    check(json!({"sub": [1, 2]}), json!(-1));
    check(json!({"mul": [2, 3]}), json!(6));
    check(json!({"div": [7, 2]}), json!(3));
    check(json!({"min": [7, 2]}), json!(2));
    check(json!({"max": [7, 2]}), json!(7));
    check(json!({"lt": ["a", "b"]}), json!(true));
    check(json!({"gte": [1, 2]}), json!(false));
    check(json!({"ne": [{"view": "nothing"}, null]}), json!(false));
    check(json!({"and": [true, {"not": false}]}), json!(true));
    check(json!({"or": [false, false]}), json!(false));
    check(json!({"if": [{"gt": [2, 1]}, "yes", "no"]}), json!("yes"));
    check(
        json!({"concat": ["a", 1, {"meta": "tenant"}]}),
        json!("a1t"),
    );
    check(json!({"upper": {"lower": {"trim": " Ä "}}}), json!("Ä"));
    check(json!({"slice": ["abcdef", 1, 3]}), json!("bc"));
    check(json!({"len": {"view": "list"}}), json!(2));
    check(
        json!({"hash": ""}),
        json!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    );
    check(
        json!({"append": {"to": {"view": "list"}, "value": 3, "cap": 2}}),
        json!([2, 3]),
    );
    check(
        json!({"merge": [{"const": {"a": 1, "b": 1}}, {"const": {"b": 2}}]}),
        json!({"a": 1, "b": 2}),
    );
    check(
        json!({"set": {"in": {"view": ""}, "path": "x.y", "to": 1}}),
        json!({"list": [1, 2], "name": "Ada", "x": {"y": 1}}),
    );
    check(
        json!({"remove": {"in": {"view": ""}, "path": "list"}}),
        json!({"name": "Ada"}),
    );
    check(json!([1, {"meta": "stream_seq"}]), json!([1, 7]));
    check(json!({"meta": "view_id"}), json!("k"));
    check(json!({"event": "aggregate_id"}), json!("a-1"));
}

#[test]
fn decimals_are_texts_with_exact_arithmetic() {
    check(json!({"decimal_add": ["0.10", "0.2", 1]}), json!("1.30"));
    check(json!({"decimal_sub": ["1.00", "0.01"]}), json!("0.99"));
    check(json!({"decimal_mul": ["1.5", "-1.5"]}), json!("-2.25"));
    check(json!({"decimal_min": ["1.5", 2]}), json!("1.5"));
    check(json!({"decimal_max": ["1.5", 2]}), json!("2"));
    check(
        json!({"decimal_div": {"of": "10.00", "by": 3, "scale": 2}}),
        json!("3.33"),
    );
    check(
        json!({"decimal_round": {"of": "0.125", "scale": 2}}),
        json!("0.12"),
    );
    check(
        json!({"lt": [{"decimal_order": ["9.5", "10.0"]}, 0]}),
        json!(true),
    );
    let source = json!({"language": "dag/v1", "key": "k", "view": {"decimal_add": [{"event": "payload"}, "1"]}});
    let program = DagProgram::compile(&source, 1_000).unwrap();
    for payload in [
        json!("1e3"),
        json!(1.5),
        json!(null),
        json!(i128::MAX.to_string()),
    ] {
        let error = project(&program, None, &event("E", payload)).unwrap_err();
        assert_eq!(error.fault(), Some(crate::quarantine::Fault::Contract));
    }
}

#[test]
fn an_account_is_folded_from_its_events() {
    let program = DagProgram::compile(&account(), 1_000).unwrap();
    let deposited = event("Deposited", json!({"amount": 5}));
    let Outcome::View(first) = project(&program, None, &deposited).unwrap() else {
        panic!()
    };
    assert_eq!(first, json!({"balance": 5, "count": 1}));
    let withdrawn = event("Withdrawn", json!({"amount": 2}));
    let second = project(&program, Some(&first), &withdrawn).unwrap();
    assert_eq!(second, Outcome::View(json!({"balance": 3, "count": 2})));
    assert_eq!(
        with_meta(|meta| program.keys(&deposited, meta)).unwrap(),
        [ViewId::from("a-1")]
    );
}

#[test]
fn events_for_others_have_no_keys_and_lists_have_each_key_once() {
    let program = DagProgram::compile(&account(), 1_000).unwrap();
    let mut order = event("Deposited", json!({}));
    order.aggregate_type = "order".into();
    assert_eq!(with_meta(|meta| program.keys(&order, meta)).unwrap(), []);
    let both = json!({"language": "dag/v1", "key": [{"event": "payload.from"}, {"event": "payload.to"}, "x"], "view": 1});
    let program = DagProgram::compile(&both, 1_000).unwrap();
    let moved = event("Moved", json!({"from": "x", "to": "b"}));
    assert_eq!(
        with_meta(|meta| program.keys(&moved, meta)).unwrap(),
        ["x", "b"].map(ViewId::from)
    );
}

#[test]
fn an_event_that_breaks_the_contract_is_told_so_and_an_overflow_is_one() {
    let program = DagProgram::compile(&account(), 1_000).unwrap();
    for payload in [json!({"amount": "5"}), json!({}), json!({"amount": 1.5})] {
        let error = project(&program, None, &event("Deposited", payload)).unwrap_err();
        assert_eq!(error.fault(), Some(crate::quarantine::Fault::Contract));
    }
    let most = json!({"balance": i64::MAX, "count": 1});
    assert!(
        project(
            &program,
            Some(&most),
            &event("Deposited", json!({"amount": 1}))
        )
        .is_err()
    );
}

#[test]
fn gas_is_exact_and_running_out_of_it_is_a_verdict() {
    let source = account();
    let program = DagProgram::compile(&source, 1_000).unwrap();
    let deposited = event("Deposited", json!({"amount": 5}));
    let (_, used) = metered(&program, None, &deposited);
    // Object, switch, on, add, two references, coalesce, view, 0, event, add, coalesce, view, 0, 1.
    assert_eq!(used, 15);
    let enough = DagProgram::compile(&source, used).unwrap();
    assert!(project(&enough, None, &deposited).is_ok());
    let scarce = DagProgram::compile(&source, used - 1).unwrap();
    assert_eq!(
        project(&scarce, None, &deposited),
        Err(ProgramError::Gas { gas_max: used - 1 })
    );
    assert_ne!(enough.hash(), scarce.hash());
}

#[test]
fn doubling_a_text_again_and_again_runs_out_of_gas_before_it_runs_out_of_memory() {
    let mut named = Map::new();
    named.insert("d0".to_owned(), json!("xxxxxxxxxxxxxxxx"));
    for level in 1..20 {
        let below = json!({"ref": format!("d{}", level - 1)});
        named.insert(format!("d{level}"), json!({"concat": [below, below]}));
    }
    let source = json!({"language": "dag/v1", "key": "k", "let": named, "view": {"ref": "d19"}});
    let program = DagProgram::compile(&source, 100_000).unwrap();
    assert_eq!(
        project(&program, None, &event("E", json!({}))),
        Err(ProgramError::Gas { gas_max: 100_000 })
    );
}

proptest! {
    #[test]
    fn the_same_input_gives_the_same_bytes(amount: i64, balance: i64, count in 0..i64::MAX, kind in "Deposited|Withdrawn|Other") {
        let program = DagProgram::compile(&account(), 1_000).unwrap();
        let event = event(&kind, json!({"amount": amount}));
        let view = json!({"balance": balance, "count": count});
        let once = project(&program, Some(&view), &event);
        let again = project(&DagProgram::compile(&account(), 1_000).unwrap(), Some(&view), &event);
        prop_assert_eq!(once, again);
    }
}
