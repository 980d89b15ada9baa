//! The exchange: views that were made on the side take the place of those that are served.
//!
//! What is served must stand still meanwhile. A few views are exchanged in one transaction. Many are exchanged in pieces, and a journal in the record of the type says up to which key that is done: whoever opens the store next goes on from there before anything else is written.

use std::{collections::BTreeMap, ops::ControlFlow};

use super::{
    RebuildError,
    records::{known, refuse_exchange, table},
};
use crate::{
    quarantine::{Record, RecordKey},
    storage::{Part, Snapshot, StorageError, ViewStore},
    types::{
        Checkpoint, Exchange, GenerationState, Scope, TenantScope, ViewKey, ViewTable, ViewType,
    },
};

/// How much is exchanged at once.
#[derive(Debug, Clone, Copy)]
pub struct ExchangeLimits {
    /// How many views in one transaction.
    pub entries_max: usize,
}

/// Puts what the side generation `from` holds in the place of what is served of it. `floor` is where both stand.
///
/// # Errors
/// One of them is not there, another exchange is not finished, or the store: then nothing has happened.
/// [`RebuildError::Unfinished`] where it was begun: then nobody can write to what is served before [`finish_exchange`] has gone on with it.
pub fn exchange(
    store: &ViewStore,
    view_type: &ViewType,
    from: u32,
    floor: u64,
    limits: ExchangeLimits,
) -> Result<(), RebuildError> {
    let begun = store.change_generations(view_type, |change| {
        let mut generations = known(change, view_type)?;
        refuse_exchange(&generations, view_type)?;
        let side = table(view_type, from);
        let kept = super::records::kept(&generations, &side)?;
        let GenerationState::Side { scope } = kept.state.clone() else {
            return Err(RebuildError::WrongState {
                table: side,
                state: kept.state.clone(),
                operation: "an exchange",
            });
        };
        // Views of another event under the checkpoint of this one would lose what is between them, or get it twice.
        for number in [generations.served, from] {
            let stood = change.checkpoint(number)?;
            let found = stood.map_or(0, |stood| stood.floor);
            if found != floor {
                return Err(RebuildError::Moved {
                    table: table(view_type, number),
                    expected: floor,
                    found,
                });
            }
        }
        generations.exchange = Some(Exchange {
            from,
            scope: scope.clone(),
            floor,
            done: String::new(),
        });
        change.set(&generations)?;
        Ok(scope)
    });
    let scope = begun?;
    match finish_exchange(store, view_type, limits) {
        Err(RebuildError::Storage(source)) if source.is_transient() => {
            Err(RebuildError::Unfinished {
                view_type: view_type.clone(),
                scope,
                source: Box::new(source),
            })
        }
        finished => finished.map(drop),
    }
}

/// Goes on with an exchange that was begun, to its end. The generation whose views are served then; `None` where there was none.
///
/// # Errors
/// What is served has moved since, or the store.
pub fn finish_exchange(
    store: &ViewStore,
    view_type: &ViewType,
    limits: ExchangeLimits,
) -> Result<Option<ViewTable>, RebuildError> {
    let mut finished = None;
    loop {
        let snapshot = store.snapshot()?;
        let Some(generations) = snapshot.generations(view_type)? else {
            return Ok(finished);
        };
        let Some(exchange) = generations.exchange.clone() else {
            return Ok(finished);
        };
        finished = Some(table(view_type, exchange.from));
        let served = table(view_type, generations.served);
        let Some(checkpoint) = snapshot.checkpoint(&served)? else {
            return Err(RebuildError::NothingServed {
                view_type: view_type.clone(),
            });
        };
        if checkpoint.floor != exchange.floor {
            return Err(RebuildError::Moved {
                table: served,
                expected: exchange.floor,
                found: checkpoint.floor,
            });
        }
        let piece = piece(&snapshot, &served, &exchange, limits.entries_max)?;
        let records = match piece.done {
            // With the last views, so that no event is both in a view and set aside.
            None => Some((
                records_of(&snapshot, &served, &exchange.scope)?,
                records_of(&snapshot, &table(view_type, exchange.from), &exchange.scope)?,
            )),
            Some(_) => None,
        };
        // A reader and a writer of one thread get into each other's way.
        drop(snapshot);
        let part = part(served, checkpoint, &piece, records);
        store.change_generations::<_, RebuildError>(view_type, |change| {
            let mut generations = known(change, view_type)?;
            change.write(&part)?;
            if let Some(done) = &piece.done {
                if let Some(exchange) = &mut generations.exchange {
                    exchange.done.clone_from(done);
                }
            } else {
                generations.exchange = None;
                generations.give_up(exchange.from);
                change.forget_checkpoint(exchange.from)?;
            }
            Ok(change.set(&generations)?)
        })?;
    }
}

/// Views that change their bytes in one transaction.
struct Piece {
    /// By their keys; `None` for those that go.
    views: BTreeMap<String, Option<Vec<u8>>>,
    /// The last key that is done then; `None` where all are.
    done: Option<String>,
}

fn piece(
    snapshot: &Snapshot<'_>,
    served: &ViewTable,
    exchange: &Exchange,
    entries_max: usize,
) -> Result<Piece, StorageError> {
    let side = table(&served.view_type, exchange.from);
    let old = range(snapshot, served, exchange, entries_max)?;
    let new = range(snapshot, &side, exchange, entries_max)?;
    // Where one of them was cut off, the other may be used up to there only.
    let ends = [old.end(), new.end()].into_iter().flatten();
    let done = ends.min().cloned();
    let within = |key: &String| done.as_ref().is_none_or(|done| key <= done);
    let mut views = BTreeMap::new();
    for (key, bytes) in &old.entries {
        if within(key) && new.entries.get(key) != Some(bytes) {
            views.insert(key.clone(), None);
        }
    }
    for (key, bytes) in new.entries {
        if within(&key) && old.entries.get(&key) != Some(&bytes) {
            views.insert(key, Some(bytes));
        }
    }
    Ok(Piece { views, done })
}

struct Range {
    entries: BTreeMap<String, Vec<u8>>,
    cut_off: bool,
}

impl Range {
    /// The last key, where it is not the end of the scope.
    fn end(&self) -> Option<&String> {
        let last = self.entries.last_key_value().map(|(key, _)| key);
        last.filter(|_| self.cut_off)
    }
}

/// The entries of the scope behind the key that is done.
fn range(
    snapshot: &Snapshot<'_>,
    table: &ViewTable,
    exchange: &Exchange,
    entries_max: usize,
) -> Result<Range, StorageError> {
    let mut range = Range {
        entries: BTreeMap::new(),
        cut_off: false,
    };
    let (start, whole) = match &exchange.scope {
        Scope::Tenant { tenant } => (TenantScope::new(tenant).prefix().to_owned(), false),
        Scope::View { tenant, id } => (TenantScope::new(tenant).in_table(id), true),
    };
    let from = if exchange.done.is_empty() {
        start.clone()
    } else {
        // The least key that is behind it.
        format!("{}\0", exchange.done)
    };
    snapshot.entries_from(table, from.as_bytes(), |key, bytes| {
        let Ok(key) = std::str::from_utf8(key) else {
            return ControlFlow::Break(());
        };
        let inside = if whole {
            key == start
        } else {
            key.starts_with(&start)
        };
        if !inside {
            return ControlFlow::Break(());
        }
        if range.entries.len() == entries_max {
            range.cut_off = true;
            return ControlFlow::Break(());
        }
        range.entries.insert(key.to_owned(), bytes.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(range)
}

type Records = Vec<(RecordKey, Record)>;

fn records_of(
    snapshot: &Snapshot<'_>,
    table: &ViewTable,
    scope: &Scope,
) -> Result<Records, StorageError> {
    let mut records = snapshot.records(table)?;
    records.retain(|(key, record)| match scope {
        Scope::Tenant { tenant } => record.tenant.as_deref() == Some(tenant.as_str()),
        Scope::View { tenant, id } => key.in_table == TenantScope::new(tenant).in_table(id),
    });
    Ok(records)
}

/// What writes the piece, and leaves the checkpoint where it is.
fn part(
    served: ViewTable,
    checkpoint: Checkpoint,
    piece: &Piece,
    records: Option<(Records, Records)>,
) -> Part {
    let mut part = Part::new(served.clone(), Some(checkpoint.floor), checkpoint);
    for (in_table, bytes) in &piece.views {
        if let Some(key) = ViewKey::from_table(&served.view_type, in_table) {
            part.put(&key, bytes.clone());
        }
    }
    if let Some((old, new)) = records {
        for (key, _) in &old {
            if !new.iter().any(|(kept, _)| kept == key) {
                part.remove_record(key);
            }
        }
        for (key, record) in &new {
            part.put_record(key, record);
        }
    }
    part
}
