//! Tests of programs that change several views by one event.

use super::*;

fn transfer() -> Value {
    let change = |operation: &str| json!({"object": {"balance": {operation: [{"coalesce": [{"view": "balance"}, 0]}, {"event": "payload.amount"}]}}});
    json!({
        "language": "dag/v1",
        "skip": {"eq": [{"view": "frozen"}, true]},
        "emit": [
            {"view_id": {"event": "payload.from"}, "new_view": change("sub")},
            {"view_id": {"event": "payload.to"}, "new_view": change("add")},
            {"when": {"eq": [{"event": "event_type"}, "Closed"]}, "view_id": {"event": "payload.from"}, "delete": true},
        ],
    })
}

#[test]
fn one_event_can_change_several_views_each_in_its_way() {
    let program = DagProgram::compile(&transfer(), 1_000).unwrap();
    let on = |id: &str, view: Option<Value>, event: &Envelope| {
        let (tenant, view_type, id) = (TenantId::default(), ViewType::from("account"), id.into());
        let meta = Meta {
            stream_seq: 1,
            tenant: &tenant,
            view_type: &view_type,
            view_id: Some(&id),
        };
        program.project(view.as_ref(), event, &meta).unwrap()
    };
    let moved = event("Moved", json!({"from": "a", "to": "b", "amount": 5}));
    let keys = with_meta(|meta| program.keys(&moved, meta)).unwrap();
    assert_eq!(keys, ["a", "b"].map(ViewId::from));
    let had = Some(json!({"balance": 7}));
    assert_eq!(
        on("a", had.clone(), &moved),
        Outcome::View(json!({"balance": 2}))
    );
    assert_eq!(
        on("b", had.clone(), &moved),
        Outcome::View(json!({"balance": 12}))
    );
    let frozen = Some(json!({"frozen": true}));
    assert_eq!(on("a", frozen, &moved), Outcome::Unchanged);
    // What is emitted for one view is applied one after the other.
    let to_itself = event("Moved", json!({"from": "a", "to": "a", "amount": 5}));
    assert_eq!(
        on("a", had.clone(), &to_itself),
        Outcome::View(json!({"balance": 7}))
    );
    let closed = event("Closed", json!({"from": "a", "to": "b", "amount": 7}));
    assert_eq!(on("a", had, &closed), Outcome::Delete);
    assert_eq!(on("a", None, &closed), Outcome::Unchanged);
}
