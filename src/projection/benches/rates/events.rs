//! Events of accounts, the program that folds them, and stores for its views.

use std::{fs, path::Path, sync::Arc};

use async_nats::jetstream::Context;
use projection::{
    manifest::ProjectionManifest,
    settings::{Durability, Engine},
    storage::{StoreOptions, ViewStore},
    types::{CHECKPOINT_FORMAT, Checkpoint, ViewKey, ViewTable},
};

use crate::nats::STREAM;

/// How many accounts there are.
pub(crate) const KEYS: u64 = 20_000;

pub(crate) const PROGRAM: &str = "{language: dag/v1, key: {event: aggregate_id}, view: {object: {balance: {add: [{coalesce: [{view: balance}, 0]}, {event: payload.amount}]}, count: {add: [{coalesce: [{view: count}, 0]}, 1]}, last: {event: payload.reference}}}}";

/// The event with this number, of one of `keys` accounts, which come at random.
pub(crate) fn event(number: u64, keys: u64) -> String {
    let account = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys;
    format!(
        r#"{{"tenant_id":"","aggregate_id":"account-{account:08}","aggregate_type":"account","event_type":"Deposited","payload":{{"amount":{},"currency":"EUR","reference":"transfer-{number:012}"}},"timestamp":"2026-01-01T00:00:00.000Z","event_id":"event-{number:016}","correlation_id":"request-{number:012}","schema_version":1}}"#,
        number % 1_000
    )
}

pub(crate) async fn publish(context: &Context, events: u64) {
    let mut acknowledged = Vec::with_capacity(1_000);
    for number in 0..events {
        acknowledged.push(
            context
                .publish(crate::nats::subject(0), event(number, KEYS).into())
                .await
                .expect("published"),
        );
        if acknowledged.len() == 1_000 {
            for one in acknowledged.drain(..) {
                one.await.expect("acknowledged");
            }
        }
    }
    for one in acknowledged {
        one.await.expect("acknowledged");
    }
}

/// The manifest of one projection, in `folder`.
pub(crate) fn manifest(folder: &Path) -> ProjectionManifest {
    let file = folder.join("manifest.yaml");
    let text = format!("projections:\n- {{view_type: account, program: {PROGRAM}}}\n");
    fs::write(&file, text).expect("a file");
    ProjectionManifest::load(&file, 100_000).expect("a manifest")
}

/// A store with durable commits, in `folder`.
pub(crate) fn store(folder: &Path) -> Arc<ViewStore> {
    let options = StoreOptions {
        engine: Engine::Mdbx,
        bytes_max: 8 << 30,
        durability: Durability::Commit,
    };
    Arc::new(ViewStore::open(&folder.join("store"), options).expect("a store"))
}

pub(crate) fn table() -> ViewTable {
    ViewTable {
        view_type: "account".into(),
        generation: 1,
    }
}

pub(crate) fn key(id: &str) -> ViewKey {
    ViewKey::new("".into(), "account".into(), id.into()).expect("a key")
}

pub(crate) fn at(floor: u64) -> Checkpoint {
    Checkpoint {
        format: CHECKPOINT_FORMAT,
        stream: STREAM.to_owned(),
        stream_created: 1,
        filter_hash: "0123456789abcdef".to_owned(),
        program_hash: "0123456789abcdef".to_owned(),
        shard: None,
        floor,
        published: Some(1),
    }
}
