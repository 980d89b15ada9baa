//! The line-up: which generations a node has to work on, by what its manifest says and what its store has.
//!
//! It is worked out anew from the store whenever something has changed, so nothing is forgotten by a node that is killed.

use serde_json::Value;

use super::{RebuildError, begin, records};
use crate::{
    manifest::{ProgramText, Projection, ProjectionManifest},
    storage::{Snapshot, ViewStore},
    types::{GenerationState, Generations, ViewTable, ViewType},
};

/// What a node has to work on.
#[derive(Default)]
pub struct Lineup {
    /// What is served, which is read and committed together.
    pub served: Vec<Projection>,
    /// What is made, or kept going, beside that, each by itself.
    pub beside: Vec<Beside>,
    /// What has been given up and is not cleared yet.
    pub retiring: Vec<ViewTable>,
    /// What is served and cannot be written, because an exchange of its views is not finished.
    pub exchanging: Vec<ViewTable>,
}

/// A generation beside the one that is served.
#[derive(Clone)]
pub struct Beside {
    /// What makes it.
    pub projection: Projection,
    /// What it is there for.
    pub state: GenerationState,
    /// The first sequence that it is made of.
    pub from: u64,
    /// Whether it is served as soon as it has caught up, where the node decides that.
    pub wanted: bool,
}

/// Works out what there is to do for `manifest`, and begins the generations that it asks for.
///
/// # Errors
/// The store.
pub fn lineup(store: &ViewStore, manifest: &ProjectionManifest) -> Result<Lineup, RebuildError> {
    let mut lineup = Lineup::default();
    for projection in newest(manifest) {
        let first = first_stored(store, projection)?;
        let mut generations = records::adopt(store, projection, first)?;
        if missing(&generations, projection) {
            begin(store, projection, GenerationState::Shadow, 1)?;
            let found = store.snapshot()?.generations(&projection.table.view_type)?;
            generations = found.unwrap_or(generations);
        }
        place(&mut lineup, store, manifest, projection, &generations)?;
    }
    Ok(lineup)
}

/// For each type the newest generation that the manifest has.
fn newest(manifest: &ProjectionManifest) -> Vec<&Projection> {
    let mut newest: Vec<&Projection> = Vec::new();
    for projection in manifest.projections() {
        let table = &projection.table;
        let known = newest
            .iter_mut()
            .find(|known| known.table.view_type == table.view_type);
        match known {
            None => newest.push(projection),
            Some(known) if known.table.generation < table.generation => *known = projection,
            Some(_) => {}
        }
    }
    newest
}

/// The generation that a store without records serves: the oldest that has anything, or else the one of the manifest.
fn first_stored(store: &ViewStore, projection: &Projection) -> Result<u32, RebuildError> {
    let snapshot = store.snapshot()?;
    let wanted = projection.table.generation;
    for generation in 1..wanted {
        let table = records::table(&projection.table.view_type, generation);
        if snapshot.checkpoint(&table)?.is_some() {
            return Ok(generation);
        }
    }
    Ok(wanted)
}

/// Whether the manifest asks for a generation that was never begun.
fn missing(generations: &Generations, projection: &Projection) -> bool {
    let (hash, number) = (projection.program.hash(), projection.table.generation);
    let is_served = |generations: &Generations| {
        let served = generations.kept.get(&generations.served);
        served.is_some_and(|served| served.program == hash)
    };
    if is_served(generations) {
        // The same program under a higher number is a rebuild; under a lower one it is what that rebuild has come to.
        return number >= generations.next() && number > generations.given_up;
    }
    let made_already = generations.kept.values().any(|kept| {
        kept.program == hash
            && !matches!(
                kept.state,
                GenerationState::Retiring | GenerationState::Side { .. }
            )
    });
    !made_already && generations.rejected.as_deref() != Some(hash)
}

fn place(
    lineup: &mut Lineup,
    store: &ViewStore,
    manifest: &ProjectionManifest,
    newest: &Projection,
    generations: &Generations,
) -> Result<(), RebuildError> {
    let snapshot = store.snapshot()?;
    let view_type = &newest.table.view_type;
    for (number, kept) in &generations.kept {
        let table = records::table(view_type, *number);
        if let GenerationState::Retiring = kept.state {
            lineup.retiring.push(table);
            continue;
        }
        let found = with_program(&snapshot, manifest, newest, &table, &kept.program)?;
        if *number == generations.served && generations.exchange.is_some() {
            lineup.exchanging.push(table);
        } else if *number == generations.served {
            // Without its program it stays blocked, and what mends that is shown.
            let unknown = || Projection {
                table: table.clone(),
                ..newest.clone()
            };
            lineup.served.push(found.unwrap_or_else(unknown));
        } else if let Some(projection) = found {
            let by_manifest = projection.program.hash() == newest.program.hash();
            lineup.beside.push(Beside {
                wanted: match kept.state {
                    GenerationState::Shadow => true,
                    // The manifest went back to a program that is still there.
                    GenerationState::Old { .. } => by_manifest && is_stale(generations, newest),
                    _ => false,
                },
                state: kept.state.clone(),
                from: kept.from,
                projection,
            });
        }
    }
    Ok(())
}

/// Whether what is served is made by another program than the manifest has.
fn is_stale(generations: &Generations, newest: &Projection) -> bool {
    let served = generations.kept.get(&generations.served);
    served.is_none_or(|served| served.program != newest.program.hash())
}

/// The projection that fills `table` by the program `hash`, from the manifest or from what was kept of earlier ones.
pub(super) fn with_program(
    snapshot: &Snapshot<'_>,
    manifest: &ProjectionManifest,
    newest: &Projection,
    table: &ViewTable,
    hash: &str,
) -> Result<Option<Projection>, RebuildError> {
    let mut listed = manifest.projections().iter();
    let listed = listed
        .find(|listed| listed.table.view_type == table.view_type && listed.program.hash() == hash);
    if let Some(listed) = listed {
        return Ok(Some(Projection {
            table: table.clone(),
            ..listed.clone()
        }));
    }
    let Some(text) = snapshot.program(hash)?.and_then(text_of) else {
        return Ok(None);
    };
    // It was compiled before, so it fails only where this version has lost its language.
    let Ok(program) = text.compile() else {
        return Ok(None);
    };
    Ok((program.hash() == hash).then(|| Projection {
        table: table.clone(),
        program,
        text: Some(text),
        ..newest.clone()
    }))
}

fn text_of(text: Value) -> Option<ProgramText> {
    serde_json::from_value(text).ok()
}

/// The projection that is asked for by `name`: a type, which stands for what is served of it, or a table such as `account@2`.
///
/// # Errors
/// There is none, or the store.
pub(crate) fn find(
    store: &ViewStore,
    manifest: &ProjectionManifest,
    name: &str,
) -> Result<(Projection, Generations), RebuildError> {
    let (of_type, number) = match name.rsplit_once('@') {
        Some((of_type, number)) => (of_type, number.parse::<u32>().ok()),
        None => (name, None),
    };
    let view_type = ViewType::from(of_type);
    let newest = newest(manifest)
        .into_iter()
        .find(|newest| newest.table.view_type == view_type);
    let newest = newest.ok_or_else(|| RebuildError::Unknown {
        name: name.to_owned(),
    })?;
    let snapshot = store.snapshot()?;
    let generations = snapshot.generations(&view_type)?;
    let generations = generations.ok_or_else(|| RebuildError::NothingServed {
        view_type: view_type.clone(),
    })?;
    let table = records::table(&view_type, number.unwrap_or(generations.served));
    let kept = records::kept(&generations, &table)?;
    let found = with_program(&snapshot, manifest, newest, &table, &kept.program)?;
    match found {
        Some(found) => Ok((found, generations)),
        None => Err(RebuildError::NoProgram { table }),
    }
}

/// The projection that the manifest wants of the type of `name`.
///
/// # Errors
/// There is none.
pub(super) fn wanted<'m>(
    manifest: &'m ProjectionManifest,
    name: &str,
) -> Result<&'m Projection, RebuildError> {
    let of_type = name.rsplit_once('@').map_or(name, |(of_type, _)| of_type);
    let found = newest(manifest)
        .into_iter()
        .find(|newest| newest.table.view_type.as_str() == of_type);
    found.ok_or_else(|| RebuildError::Unknown {
        name: name.to_owned(),
    })
}
