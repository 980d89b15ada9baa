//! Records: what becomes of generations, each in one transaction. A crash leaves the one state or the other.

use std::{sync::Arc, time::SystemTime};

use super::RebuildError;
use crate::{
    manifest::Projection,
    spans::spawn_blocking,
    storage::{GenerationChange, StorageError, ViewStore},
    types::{
        Checkpoint, Generation, GenerationState, Generations, Target, ViewTable, ViewType, seconds,
    },
};

/// Notes that `generation` is served, where nothing of the type was before, and keeps the text of the program.
///
/// # Errors
/// The store.
pub(super) fn adopt(
    store: &ViewStore,
    projection: &Projection,
    generation: u32,
) -> Result<Generations, StorageError> {
    store.change_generations(&projection.table.view_type, |change| {
        keep_text(change, projection)?;
        if let Some(known) = change.generations()? {
            return Ok(known);
        }
        let first = Generations::first(generation, projection.program.hash());
        change.set(&first)?;
        Ok(first)
    })
}

fn keep_text(
    change: &mut GenerationChange<'_>,
    projection: &Projection,
) -> Result<(), StorageError> {
    let Some(text) = &projection.text else {
        return Ok(());
    };
    let text = serde_json::to_value(text).expect("a program is JSON");
    change.keep_program(projection.program.hash(), &text)
}

/// Begins a generation of `projection`, at the number of its table where that is above all others, made of the events from `from` on.
///
/// # Errors
/// Nothing is served yet, or the store.
pub fn begin(
    store: &ViewStore,
    projection: &Projection,
    state: GenerationState,
    from: u64,
) -> Result<ViewTable, RebuildError> {
    begin_as(store, projection, state, from, None)
}

/// The same as a part of the rebuild `id`.
pub(super) fn begin_as(
    store: &ViewStore,
    projection: &Projection,
    state: GenerationState,
    from: u64,
    id: Option<&str>,
) -> Result<ViewTable, RebuildError> {
    let view_type = &projection.table.view_type;
    store.change_generations(view_type, |change| {
        let mut generations = known(change, view_type)?;
        let number = generations.next().max(projection.table.generation);
        let mut begun = Generation::new(state.clone(), projection.program.hash());
        begun.from = from;
        begun.rebuild = id.map(str::to_owned);
        generations.kept.insert(number, begun);
        if state == GenerationState::Shadow {
            // Whoever asks for it wants it tried again.
            generations.rejected = generations
                .rejected
                .filter(|rejected| rejected != projection.program.hash());
        }
        // What an interrupted attempt may have left under that number.
        change.clear(number)?;
        keep_text(change, projection)?;
        change.set(&generations)?;
        Ok(table(view_type, number))
    })
}

/// Takes a generation that is being made into the rebuild `id`, unless it is of one already. Says of which it is.
///
/// # Errors
/// It is not there, or the store.
pub(super) fn join(
    store: &ViewStore,
    table: &ViewTable,
    id: Option<&str>,
) -> Result<Option<String>, RebuildError> {
    store.change_generations(&table.view_type, |change| {
        let mut generations = known(change, &table.view_type)?;
        kept(&generations, table)?;
        let kept = generations.kept.get_mut(&table.generation);
        let kept = kept.expect("it was there just now");
        if kept.rebuild.is_some() || id.is_none() {
            return Ok(kept.rebuild.clone());
        }
        kept.rebuild = id.map(str::to_owned);
        change.set(&generations)?;
        Ok(id.map(str::to_owned))
    })
}

/// Serves `to` from `now` on, which is at most `lag_max` sequences behind what is served.
///
/// # Errors
/// It is not whole, or too far behind, or the store.
pub fn cut_over(
    store: &ViewStore,
    to: &ViewTable,
    lag_max: u64,
    now: SystemTime,
) -> Result<(), RebuildError> {
    store.change_generations(&to.view_type, |change| {
        let mut generations = known(change, &to.view_type)?;
        refuse_exchange(&generations, &to.view_type)?;
        let kept = kept(&generations, to)?;
        let whole = matches!(
            kept.state,
            GenerationState::Shadow
                | GenerationState::Old { .. }
                | GenerationState::Rejected { .. }
        );
        if !whole {
            return Err(RebuildError::WrongState {
                table: to.clone(),
                state: kept.state.clone(),
                operation: "cutover",
            });
        }
        let served = change.checkpoint(generations.served)?;
        let there = change.checkpoint(to.generation)?;
        refuse_lag(to, there.as_ref(), served.as_ref(), lag_max)?;
        generations.cut_over(to.generation, now);
        Ok(change.set(&generations)?)
    })
}

/// Serves again what was served before.
///
/// # Errors
/// It is not there any more, or the store.
pub fn roll_back(
    store: &ViewStore,
    view_type: &ViewType,
    now: SystemTime,
) -> Result<ViewTable, RebuildError> {
    roll_back_from(store, view_type, None, now)
}

/// The same where `from` is served, if it is given.
pub(super) fn roll_back_from(
    store: &ViewStore,
    view_type: &ViewType,
    from: Option<u32>,
    now: SystemTime,
) -> Result<ViewTable, RebuildError> {
    store.change_generations(view_type, |change| {
        let mut generations = known(change, view_type)?;
        refuse_exchange(&generations, view_type)?;
        if let Some(from) = from.filter(|from| *from != generations.served) {
            return Err(RebuildError::NotServed {
                table: table(view_type, from),
                served: generations.served,
            });
        }
        let back = generations.roll_back(now);
        let number = back.ok_or_else(|| RebuildError::NoWayBack {
            view_type: view_type.clone(),
        })?;
        change.set(&generations)?;
        Ok(table(view_type, number))
    })
}

/// Gives a generation up: from here on it is nothing, and what is left of it is removed in pieces by [`retire_some`].
///
/// # Errors
/// It is served, or the store.
pub fn retire(store: &ViewStore, table: &ViewTable) -> Result<(), RebuildError> {
    store.change_generations(&table.view_type, |change| {
        let mut generations = known(change, &table.view_type)?;
        refuse_exchange(&generations, &table.view_type)?;
        let kept = kept(&generations, table)?;
        if table.generation == generations.served {
            return Err(RebuildError::WrongState {
                table: table.clone(),
                state: kept.state.clone(),
                operation: "retire",
            });
        }
        generations.give_up(table.generation);
        // Without it, nobody takes for whole what is left.
        change.forget_checkpoint(table.generation)?;
        Ok(change.set(&generations)?)
    })
}

/// Removes a piece of a generation that was given up. Whether anything is left.
///
/// # Errors
/// It was not given up, or the store.
pub fn retire_some(
    store: &ViewStore,
    table: &ViewTable,
    entries_max: usize,
) -> Result<bool, RebuildError> {
    let generations = store.snapshot()?.generations(&table.view_type)?;
    let state = generations
        .as_ref()
        .and_then(|generations| generations.kept.get(&table.generation))
        .map(|kept| kept.state.clone());
    match state {
        None => return Ok(false),
        Some(GenerationState::Retiring) => {}
        Some(state) => {
            return Err(RebuildError::WrongState {
                table: table.clone(),
                state,
                operation: "clearing",
            });
        }
    }
    if store.clear_some(table, entries_max)? {
        return Ok(true);
    }
    store.change_generations(&table.view_type, |change| {
        let mut generations = known(change, &table.view_type)?;
        generations.kept.remove(&table.generation);
        change.forget(table.generation)?;
        change.set(&generations)?;
        Ok(false)
    })
}

/// Removes the views of what is served, so that they are made again from the beginning of the stream. Until they are where they were, queries can see that.
///
/// # Errors
/// Nothing is served yet, or the store.
pub fn rebuild_in_place(
    store: &ViewStore,
    projection: &Projection,
) -> Result<ViewTable, RebuildError> {
    let view_type = &projection.table.view_type;
    store.change_generations(view_type, |change| {
        let mut generations = known(change, view_type)?;
        refuse_exchange(&generations, view_type)?;
        let number = generations.served;
        let stood: Option<Checkpoint> = change.checkpoint(number)?;
        if let Some(kept) = generations.kept.get_mut(&number) {
            let target = stood.map(|stood| Target {
                floor: stood.floor,
                stream_created: stood.stream_created,
            });
            kept.rebuilding = target.or(kept.rebuilding.take());
            projection.program.hash().clone_into(&mut kept.program);
            // They are made of all there is again, whatever they began with.
            kept.from = 1;
        }
        // What is made again here need not be made beside it as well.
        let shadows = generations.kept.iter();
        let shadows = shadows.filter(|(_, kept)| kept.state == GenerationState::Shadow);
        for shadow in shadows.map(|(number, _)| *number).collect::<Vec<_>>() {
            generations.give_up(shadow);
            change.forget_checkpoint(shadow)?;
        }
        keep_text(change, projection)?;
        change.clear(number)?;
        change.set(&generations)?;
        Ok(table(view_type, number))
    })
}

/// Forgets that views were made again in place, where they are what they were.
///
/// # Errors
/// The store.
pub fn settle_in_place(store: &ViewStore, table: &ViewTable) -> Result<(), StorageError> {
    let snapshot = store.snapshot()?;
    let flagged = snapshot
        .generations(&table.view_type)?
        .and_then(|mut generations| generations.kept.remove(&table.generation))
        .is_some_and(|kept| kept.rebuilding.is_some());
    if !flagged || snapshot.rebuilding(table)?.is_some() {
        return Ok(());
    }
    drop(snapshot);
    store.change_generations(&table.view_type, |change| {
        let Some(mut generations) = change.generations()? else {
            return Ok(());
        };
        if let Some(kept) = generations.kept.get_mut(&table.generation) {
            kept.rebuilding = None;
        }
        change.set(&generations)
    })
}

/// What `change` begins with.
pub(super) fn known(
    change: &mut GenerationChange<'_>,
    view_type: &ViewType,
) -> Result<Generations, RebuildError> {
    let generations = change.generations()?;
    generations.ok_or_else(|| RebuildError::NothingServed {
        view_type: view_type.clone(),
    })
}

pub(super) fn kept<'g>(
    generations: &'g Generations,
    table: &ViewTable,
) -> Result<&'g Generation, RebuildError> {
    let kept = generations.kept.get(&table.generation);
    kept.ok_or_else(|| RebuildError::NoGeneration {
        table: table.clone(),
    })
}

pub(super) fn refuse_exchange(
    generations: &Generations,
    view_type: &ViewType,
) -> Result<(), RebuildError> {
    match &generations.exchange {
        None => Ok(()),
        Some(exchange) => Err(RebuildError::Exchanging {
            view_type: view_type.clone(),
            scope: exchange.scope.clone(),
        }),
    }
}

fn refuse_lag(
    table: &ViewTable,
    there: Option<&Checkpoint>,
    served: Option<&Checkpoint>,
    lag_max: u64,
) -> Result<(), RebuildError> {
    let Some(served) = served else {
        return Ok(());
    };
    let floor = there.map_or(0, |there| there.floor);
    let another_stream = there.is_some_and(|there| there.stream_created != served.stream_created);
    // Sequences of different streams cannot be compared.
    if another_stream || floor.saturating_add(lag_max) >= served.floor {
        return Ok(());
    }
    Err(RebuildError::Behind {
        table: table.clone(),
        floor,
        served: served.floor,
    })
}

pub(super) fn table(view_type: &ViewType, generation: u32) -> ViewTable {
    ViewTable {
        view_type: view_type.clone(),
        generation,
    }
}

/// Whether a generation that is not served any more has been kept for long enough, by the time of day.
pub(super) fn kept_for_long_enough(
    generation: &Generation,
    options: &super::RebuildOptions,
    now: SystemTime,
) -> bool {
    match generation.state {
        GenerationState::Old { since } | GenerationState::Rejected { since } => {
            seconds(now) >= since.saturating_add(options.keep_old.as_secs())
        }
        _ => false,
    }
}

/// Runs what blocks on a thread where it may.
pub(super) async fn blocking<T: Send + 'static>(
    store: &Arc<ViewStore>,
    work: impl FnOnce(&ViewStore) -> T + Send + 'static,
) -> T {
    let store = Arc::clone(store);
    spawn_blocking(move || work(&store))
        .await
        .expect("work on the store does not panic")
}
