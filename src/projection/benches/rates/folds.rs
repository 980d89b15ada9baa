//! Folds: R4, a program in `dag/v1` over the same one in Rust, from the bytes of an event and a view to those of the new view.

use std::{hint::black_box, time::Instant};

use projection::{
    program::{Meta, Outcome, Program, ProgramError, dag::DagProgram},
    types::{Envelope, StoredView, TenantId, ViewId, ViewType},
};
use serde_json::{Value, json};

use crate::{
    events::{KEYS, PROGRAM, event},
    measure::{ROUNDS, Taken, cpu, median, show, taken, verdict},
};

const FOLDS: u64 = 200_000;

/// What the program says, in Rust.
struct Native;

impl Program for Native {
    fn hash(&self) -> &'static str {
        "native"
    }

    fn keys(&self, event: &Envelope, _: &Meta<'_>) -> Result<Vec<ViewId>, ProgramError> {
        Ok(vec![event.aggregate_id.as_str().into()])
    }

    fn project(
        &self,
        view: Option<&Value>,
        event: &Envelope,
        _: &Meta<'_>,
    ) -> Result<Outcome, ProgramError> {
        let wrong = || ProgramError::Contract {
            node: "native".to_owned(),
            what: "not a whole number, or an overflow".to_owned(),
        };
        let before = |name: &str| match view.and_then(|view| view.get(name)) {
            None | Some(Value::Null) => Ok(0),
            Some(value) => value.as_i64().ok_or_else(wrong),
        };
        let amount = event.payload.get("amount").and_then(Value::as_i64);
        let balance = before("balance")?.checked_add(amount.ok_or_else(wrong)?);
        let count = before("count")?.checked_add(1);
        let last = event.payload.get("reference").cloned();
        Ok(Outcome::View(json!({
            "balance": balance.ok_or_else(wrong)?,
            "count": count.ok_or_else(wrong)?,
            "last": last.unwrap_or_default(),
        })))
    }
}

pub(crate) fn run() {
    println!("R4 {FOLDS} folds");
    let source: Value = serde_saphyr::from_str(PROGRAM).expect("YAML");
    let dag = DagProgram::compile(&source, 100_000).expect("a program");
    let bytes: Vec<Vec<u8>> = (0..1_000).map(|at| event(at, KEYS).into_bytes()).collect();
    let (mut whole, mut alone) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for _ in 0..ROUNDS {
        whole.0.push(from_bytes(&Native, &bytes));
        whole.1.push(from_bytes(&dag, &bytes));
        alone.0.push(decoded(&Native, &bytes));
        alone.1.push(decoded(&dag, &bytes));
    }
    let [native, dag] = [whole.0, whole.1].map(median);
    show("Rust, from bytes to bytes", native);
    show("dag/v1, from bytes to bytes", dag);
    // Of one thread, so that the CPU time is what it takes where nobody disturbs it.
    verdict("R4", native.cpu_us / dag.cpu_us, 0.8);
    let [native, dag] = [alone.0, alone.1].map(median);
    show("Rust, of decoded events", native);
    show("dag/v1, of decoded events", dag);
    println!("  without JSON: {:.2}", native.cpu_us / dag.cpu_us);
}

fn from_bytes(program: &dyn Program, events: &[Vec<u8>]) -> Taken {
    let (start, before) = (Instant::now(), cpu());
    let mut stored: Option<Vec<u8>> = None;
    for (number, bytes) in (1..=FOLDS).zip(events.iter().cycle()) {
        let event = Envelope::decode(bytes).expect("an event");
        let view = stored.map(|bytes| StoredView::decode(&bytes).expect("a view").view);
        let view = fold(program, view.as_ref(), &event, number);
        let new = StoredView {
            view,
            last_seq: number,
            applied: number,
            program: String::new(),
        };
        stored = Some(new.encode());
    }
    black_box(stored);
    taken(FOLDS, start, before)
}

fn decoded(program: &dyn Program, events: &[Vec<u8>]) -> Taken {
    let events: Vec<_> = events
        .iter()
        .map(|bytes| Envelope::decode(bytes).expect("an event"))
        .collect();
    let (start, before) = (Instant::now(), cpu());
    let mut view = None;
    for (number, event) in (1..=FOLDS).zip(events.iter().cycle()) {
        view = Some(fold(program, view.as_ref(), event, number));
    }
    black_box(view);
    taken(FOLDS, start, before)
}

fn fold(program: &dyn Program, view: Option<&Value>, event: &Envelope, number: u64) -> Value {
    let (tenant, view_type) = (TenantId::default(), ViewType::from("account"));
    let meta = Meta {
        stream_seq: number,
        tenant: &tenant,
        view_type: &view_type,
        view_id: None,
    };
    let keys = program.keys(event, &meta).expect("keys");
    let meta = Meta {
        view_id: keys.first(),
        ..meta
    };
    match program.project(view, event, &meta).expect("a view") {
        Outcome::View(view) => view,
        outcome => panic!("no view but {outcome:?}"),
    }
}
