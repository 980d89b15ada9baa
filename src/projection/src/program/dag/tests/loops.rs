//! Tests of loops over lists: what they look at, and what each element costs.

use super::*;

#[test]
fn loops_look_at_each_element_and_at_what_the_loops_around_them_name() {
    let rows = json!({"const": [{"n": 1, "in": [10, 20]}, {"n": 2, "in": [30]}]});
    check(
        json!({"map": {"over": {"view": "list"}, "as": "x", "give": {"mul": [{"local": "x"}, 10]}}}),
        json!([10, 20]),
    );
    check(
        json!({"filter": {"over": rows, "as": "row", "keep": {"gt": [{"local": "row.n"}, 1]}}}),
        json!([{"n": 2, "in": [30]}]),
    );
    let inner = json!({"fold": {"over": {"local": "row.in"}, "as": "x", "into": "sum", "from": {"local": "row.n"},
        "give": {"add": [{"local": "sum"}, {"mul": [{"local": "x"}, {"local": "row.n"}]}]}}});
    check(
        json!({"map": {"over": rows, "as": "row", "give": inner}}),
        json!([31, 62]),
    );
    let nothing = json!({"map": {"over": {"view": "nothing"}, "as": "x", "give": 1}});
    check(nothing, json!([]));
}

/// A let that is first needed within a loop has loops of its own.
#[test]
fn a_step_with_a_name_is_worked_out_once_wherever_a_loop_needs_it() {
    let source = json!({
        "language": "dag/v1", "key": "k",
        "let": {"total": {"fold": {"over": {"event": "payload"}, "as": "x", "into": "sum", "from": 0,
            "give": {"add": [{"local": "sum"}, {"local": "x"}]}}}},
        "view": {"map": {"over": {"event": "payload"}, "as": "part",
            "give": {"sub": [{"ref": "total"}, {"local": "part"}]}}},
    });
    let program = DagProgram::compile(&source, 1_000).unwrap();
    let outcome = project(&program, None, &event("E", json!([1, 2, 3]))).unwrap();
    assert_eq!(outcome, Outcome::View(json!([5, 4, 3])));
}

#[test]
fn each_element_of_a_loop_costs_what_its_step_costs_and_one_more() {
    let source = json!({"language": "dag/v1", "key": "k", "view": {"fold": {"over": {"event": "payload"},
        "as": "x", "into": "sum", "from": 0, "give": {"add": [{"local": "sum"}, {"local": "x"}]}}}});
    let program = DagProgram::compile(&source, 1_000).unwrap();
    let gas = |elements: usize| {
        let event = event("E", json!(vec![1; elements]));
        metered(&program, None, &event).1
    };
    // The loop, the list and where it begins; then the element, the sum and its two parts.
    assert_eq!([gas(0), gas(1), gas(100)], [3, 7, 403]);
    let many = event("E", json!(vec![1; 1_000]));
    assert_eq!(
        project(&program, None, &many),
        Err(ProgramError::Gas { gas_max: 1_000 })
    );
}

/// Everything whose cost depends on what it is given, in one program.
fn busy() -> DagProgram {
    let amounts = json!({"map": {"over": {"event": "payload"}, "as": "line", "give": {"decimal_mul": [{"local": "line.price"}, {"local": "line.count"}]}}});
    let sum = json!({"fold": {"over": {"ref": "amounts"}, "as": "x", "into": "sum", "from": "0.00", "give": {"decimal_add": [{"local": "sum"}, {"local": "x"}]}}});
    let many = json!({"filter": {"over": {"event": "payload"}, "as": "line", "keep": {"gt": [{"local": "line.count"}, 2]}}});
    let source = json!({"language": "dag/v1", "key": "k", "let": {"amounts": amounts}, "view": {"object": {
        "total": {"decimal_add": [{"coalesce": [{"view": "total"}, 0]}, sum]},
        "seen": {"append": {"to": {"view": "seen"}, "value": {"concat": [{"hash": sum}, {"len": many}]}, "cap": 5}},
        "many": {"merge": [{"view": "many"}, {"object": {"last": many}}]},
    }}});
    DagProgram::compile(&source, 2_000).unwrap()
}

proptest! {
    #[test]
    fn the_same_input_costs_the_same_gas_and_gives_the_same_bytes(
        events in proptest::collection::vec(proptest::collection::vec((-9_999_i64..9_999, -9_i64..9), 0..40), 1..6),
    ) {
        let (one, other) = (busy(), busy());
        let mut views = (None, None);
        for lines in events {
            let lines: Vec<_> = lines.into_iter()
                .map(|(price, count)| json!({"price": format!("{}.{:02}", price / 100, price.abs() % 100), "count": count}))
                .collect();
            let event = event("Ordered", json!(lines));
            let (made, gas) = metered(&one, views.0.as_ref(), &event);
            let (made_again, gas_again) = metered(&other, views.1.as_ref(), &event);
            prop_assert_eq!(gas, gas_again);
            prop_assert!(made.is_some() || gas == 2_000, "{} gas", gas);
            let bytes = serde_json::to_vec(&made).unwrap();
            prop_assert_eq!(&bytes, &serde_json::to_vec(&made_again).unwrap());
            // One goes on with the view as it is in memory, the other with what it reads back.
            views = (made.or(views.0), serde_json::from_slice::<Option<Value>>(&bytes).unwrap().or(views.1));
        }
    }
}
