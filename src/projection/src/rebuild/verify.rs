//! Verification: the events once more into a store of its own, and then both compared, byte for byte.

mod asked;

use std::{collections::BTreeSet, fs, io, ops::ControlFlow, path::Path, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{
    Progress, Purpose, RebuildError, Sources, lineup,
    replay::{Replay, begin_at, floor, replay_to},
};
use crate::{
    manifest::ProjectionManifest,
    pipeline::ShardOptions,
    settings::{Durability, Engine},
    storage::{Snapshot, StorageError, StoreOptions, ViewStore},
    types::ViewTable,
};

pub use asked::{PATH, Verification, Verifier, Verify, VerifyOutcome};

/// How many differences are kept to be shown; all are counted.
const SHOWN_MAX: usize = 10;
/// What marks a folder as one of a verification, which the next one may remove.
const MARK: &str = "verification";
/// How many views are compared at a time.
const COMPARED_AT_ONCE: usize = 1_000;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// What was compared, such as `account@2`.
    pub generation: String,
    /// The event that both stand at.
    pub floor: u64,
    /// How many views there are, of either.
    pub views: u64,
    /// How many of them differ.
    pub different: u64,
    /// How many differ only because events of theirs are in quarantine, or were dropped or retried by an operator.
    pub excused: u64,
    /// The first of those that differ.
    pub differences: Vec<Difference>,
}

impl Verified {
    /// Whether the views are those that the stream makes.
    pub fn is_right(&self) -> bool {
        self.different == self.excused
    }
}

/// A view that is not what the stream makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its key in the table: `{tenant}:{id}`.
    pub key: String,
    /// What is stored; `None` where nothing is.
    pub stored: Option<String>,
    /// What the stream makes of it; `None` where nothing is.
    pub replayed: Option<String>,
    /// Whether events of it are in quarantine, on either side.
    pub quarantined: bool,
}

/// Compares the views of `name`, as they are in `store`, with what the stream makes. The second reading goes to `scratch`, a folder that is not there, that is empty, or that another verification has left; it is removed behind that.
///
/// `store` may belong to a node that runs: what is compared is what it has when the second reading has caught up.
///
/// # Errors
/// The stream does not have all that the views are made of, one of the two cannot be read, or there is something else in `scratch`.
pub async fn verify(
    store: &ViewStore,
    manifest: &ProjectionManifest,
    options: &ShardOptions,
    sources: &dyn Sources,
    name: &str,
    scratch: &Path,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Verified, RebuildError> {
    let never = CancellationToken::new();
    verify_until(
        store, manifest, options, sources, name, scratch, progress, &never,
    )
    .await
}

/// The same, unless `stop` is cancelled before its end.
#[expect(clippy::too_many_arguments, reason = "each is another thing")]
async fn verify_until(
    store: &ViewStore,
    manifest: &ProjectionManifest,
    options: &ShardOptions,
    sources: &dyn Sources,
    name: &str,
    scratch: &Path,
    progress: &mut (dyn FnMut(Progress) + Send),
    stop: &CancellationToken,
) -> Result<Verified, RebuildError> {
    /// As often as a node that is faster than its verification may run away from it.
    const CHASES_MAX: usize = 5;
    /// So few that they are read while the store is held as it is.
    const NEAR: u64 = 5_000;
    let (projection, generations) = lineup::find(store, manifest, name)?;
    let table = projection.table.clone();
    let from = generations
        .kept
        .get(&table.generation)
        .map_or(1, |kept| kept.from);
    make(scratch)?;
    let replayed = Arc::new(ViewStore::open(scratch, scratch_options())?);
    let shown = Progress::new(table.to_string(), Purpose::Verify);
    let mut first = sources.replay().await?;
    begin_at(&replayed, &projection, options, &mut *first, from).await?;
    drop(first);
    let replay = || Replay {
        store: &replayed,
        projection: &projection,
        options,
        stop,
        shown: shown.clone(),
    };
    for _ in 0..CHASES_MAX {
        let until = floor(store, &table)?;
        if until.saturating_sub(floor(&replayed, &table)?) <= NEAR {
            break;
        }
        replay_to(replay(), sources.replay().await?, until, progress).await?;
    }
    let snapshot = store.snapshot()?;
    let until = snapshot.checkpoint(&table)?.map_or(0, |stood| stood.floor);
    replay_to(replay(), sources.replay().await?, until, progress).await?;
    let mut verified = Verified {
        generation: table.to_string(),
        floor: until,
        views: 0,
        different: 0,
        excused: 0,
        differences: Vec::new(),
    };
    compare(&snapshot, &replayed.snapshot()?, &table, &mut verified)?;
    drop(replayed);
    remove(scratch)?;
    Ok(verified)
}

fn scratch_options() -> StoreOptions {
    StoreOptions {
        engine: Engine::Mdbx,
        bytes_max: 64 << 30,
        // Nobody reads it after a crash.
        durability: Durability::Interval(Duration::from_mins(1)),
    }
}

/// Makes the folder for a second reading. Only what an earlier one has left there is removed.
fn make(folder: &Path) -> Result<(), RebuildError> {
    let failed = |source| RebuildError::Folder {
        folder: folder.to_owned(),
        source,
    };
    let mark = folder.join(MARK);
    let is_empty = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(failed(error)),
    };
    if !is_empty {
        if !fs::exists(&mark).map_err(failed)? {
            return Err(RebuildError::NotEmpty {
                folder: folder.to_owned(),
            });
        }
        remove(folder)?;
    }
    fs::create_dir_all(folder).map_err(failed)?;
    fs::write(mark, "").map_err(failed)
}

fn remove(folder: &Path) -> Result<(), RebuildError> {
    fs::remove_dir_all(folder).map_err(|source| RebuildError::Folder {
        folder: folder.to_owned(),
        source,
    })
}

fn compare(
    stored: &Snapshot<'_>,
    replayed: &Snapshot<'_>,
    table: &ViewTable,
    verified: &mut Verified,
) -> Result<(), StorageError> {
    let excused = excused(stored, table)?
        .into_iter()
        .chain(excused(replayed, table)?)
        .collect::<BTreeSet<_>>();
    let mut from = Some(Vec::new());
    while let Some(start) = from.take() {
        let (old, old_next) = piece(stored, table, &start)?;
        let (new, new_next) = piece(replayed, table, &start)?;
        // Both up to the key where the shorter one was cut off.
        from = [old_next, new_next].into_iter().flatten().min();
        let within = |entry: &&(Vec<u8>, Vec<u8>)| from.as_ref().is_none_or(|end| &entry.0 < end);
        let mut old = old.iter().filter(within).peekable();
        let mut new = new.iter().filter(within).peekable();
        loop {
            let (stored, replayed) = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) if a.0 == b.0 => (old.next(), new.next()),
                (Some(a), Some(b)) if a.0 > b.0 => (None, new.next()),
                (Some(_), _) => (old.next(), None),
                (None, Some(_)) => (None, new.next()),
            };
            verified.note(stored, replayed, &excused);
        }
    }
    Ok(())
}

type Entry = (Vec<u8>, Vec<u8>);

/// Some entries, and where the next ones begin.
fn piece(
    snapshot: &Snapshot<'_>,
    table: &ViewTable,
    from: &[u8],
) -> Result<(Vec<Entry>, Option<Vec<u8>>), StorageError> {
    let (mut entries, mut next) = (Vec::new(), None);
    snapshot.entries_from(table, from, |key, bytes| {
        if entries.len() == COMPARED_AT_ONCE {
            next = Some(key.to_vec());
            return ControlFlow::Break(());
        }
        entries.push((key.to_vec(), bytes.to_vec()));
        ControlFlow::Continue(())
    })?;
    Ok((entries, next))
}

/// The keys that have events in quarantine.
fn excused(snapshot: &Snapshot<'_>, table: &ViewTable) -> Result<Vec<String>, StorageError> {
    let records = snapshot.records(table)?;
    let keys = records.into_iter().map(|(key, _)| key.in_table);
    Ok(keys.filter(|key| !key.is_empty()).collect())
}

impl Verified {
    fn note(
        &mut self,
        stored: Option<&Entry>,
        replayed: Option<&Entry>,
        excused: &BTreeSet<String>,
    ) {
        self.views += 1;
        let bytes = |entry: Option<&Entry>| entry.map(|(_, bytes)| bytes.clone());
        let (old, new) = (bytes(stored), bytes(replayed));
        if old == new {
            return;
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let key = stored.or(replayed).map(|(key, _)| text(key.clone()));
        let key = key.unwrap_or_default();
        let quarantined = excused.contains(&key);
        self.different += 1;
        self.excused += u64::from(quarantined);
        if self.differences.len() < SHOWN_MAX {
            self.differences.push(Difference {
                key,
                stored: old.map(text),
                replayed: new.map(text),
                quarantined,
            });
        }
    }
}
