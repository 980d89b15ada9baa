//! Generations in the store: the alias of a type, and what changes it, each in one transaction.
//!
//! What a change means is decided elsewhere (see `rebuild`); here it is made whole or not at all.

use std::ops::ControlFlow;

use serde_json::Value;

use super::{
    Part, Snapshot, StorageError, ViewStore, decode_checkpoint, index, kv::KvWrite, tables,
    write_part,
};
use crate::types::{Checkpoint, Generation, GenerationState, Generations, ViewTable, ViewType};

impl Snapshot<'_> {
    /// The generation of `view_type` that queries are answered from; `None` where nothing was ever written.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn served(&self, view_type: &ViewType) -> Result<Option<u32>, StorageError> {
        let generations = self.generations(view_type)?;
        Ok(generations.map(|generations| generations.served))
    }

    /// The table of the generation of `view_type` that queries are answered from.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn served_table(&self, view_type: &ViewType) -> Result<Option<ViewTable>, StorageError> {
        let served = self.served(view_type)?;
        Ok(served.map(|generation| ViewTable {
            view_type: view_type.clone(),
            generation,
        }))
    }

    /// All that is known of the generations of `view_type`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn generations(&self, view_type: &ViewType) -> Result<Option<Generations>, StorageError> {
        let bytes = self.get(tables::GENERATIONS, view_type.as_str().as_bytes())?;
        bytes.map(|bytes| decode(&bytes)).transpose()
    }

    /// The types that have generations, in order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn view_types(&self) -> Result<Vec<ViewType>, StorageError> {
        let mut types = Vec::new();
        self.range(tables::GENERATIONS, &[], &mut |key, _| {
            types.push(ViewType::from(String::from_utf8_lossy(key).into_owned()));
            ControlFlow::Continue(())
        })?;
        Ok(types)
    }

    /// The sequence that the views of `table` must come to before they are again what they were, where they are made again in place, or a part of them is being exchanged.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn rebuilding(&self, table: &ViewTable) -> Result<Option<u64>, StorageError> {
        let generations = self.generations(&table.view_type)?;
        let Some(mut generations) = generations else {
            return Ok(None);
        };
        if generations.exchange.is_some() && generations.served == table.generation {
            let checkpoint = self.checkpoint(table)?;
            return Ok(checkpoint.map(|checkpoint| checkpoint.floor));
        }
        let kept = generations.kept.remove(&table.generation);
        let Some(target) = kept.and_then(|kept| kept.rebuilding) else {
            return Ok(None);
        };
        let there = self.checkpoint(table)?.is_some_and(|checkpoint| {
            // In another stream the sequence means nothing.
            checkpoint.stream_created != target.stream_created || checkpoint.floor >= target.floor
        });
        Ok((!there).then_some(target.floor))
    }

    /// The text of the program `hash`; `None` where it was never kept.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn program(&self, hash: &str) -> Result<Option<Value>, StorageError> {
        let bytes = self.get(tables::PROGRAMS, hash.as_bytes())?;
        let text = bytes.map(|bytes| serde_json::from_slice(&bytes));
        text.transpose()
            .map_err(|source| StorageError::Undecodable {
                what: "program",
                source,
            })
    }
}

/// A change of the generations of one type, while it is made.
pub struct GenerationChange<'t> {
    tables: &'t mut dyn KvWrite,
    view_type: &'t ViewType,
}

impl GenerationChange<'_> {
    /// The record as it is.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn generations(&mut self) -> Result<Option<Generations>, StorageError> {
        generations(self.tables, self.view_type)
    }

    /// Writes the record.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn set(&mut self, generations: &Generations) -> Result<(), StorageError> {
        put_generations(self.tables, self.view_type, generations)
    }

    /// Where a generation stands.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn checkpoint(&mut self, generation: u32) -> Result<Option<Checkpoint>, StorageError> {
        let key = self.table(generation).to_string();
        let bytes = self.tables.get(tables::CHECKPOINTS, key.as_bytes())?;
        bytes.map(|bytes| decode_checkpoint(&bytes)).transpose()
    }

    /// Removes the checkpoint of a generation, so that nobody takes for whole what is left of it.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn forget_checkpoint(&mut self, generation: u32) -> Result<(), StorageError> {
        let key = self.table(generation).to_string();
        self.tables.put_all(
            tables::CHECKPOINTS,
            &mut [(key.as_bytes(), None)].into_iter(),
        )
    }

    /// Removes all that a generation holds.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn clear(&mut self, generation: u32) -> Result<(), StorageError> {
        let table = self.table(generation);
        for name in tables::all_of(&table) {
            self.tables.clear(&name)?;
        }
        index::clear(self.tables, &table)?;
        self.forget_checkpoint(generation)
    }

    /// Removes all that a generation holds, and what it was declared to have.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn forget(&mut self, generation: u32) -> Result<(), StorageError> {
        let table = self.table(generation);
        for name in tables::all_of(&table) {
            self.tables.remove(&name)?;
        }
        self.forget_checkpoint(generation)?;
        index::forget(self.tables, &table)
    }

    /// Writes a part in the same transaction.
    ///
    /// # Errors
    /// What [`ViewStore::commit`] says.
    pub fn write(&mut self, part: &Part) -> Result<(), StorageError> {
        write_part(self.tables, part)
    }

    /// Keeps the text of a program, for generations that the manifest does not name any more.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn keep_program(&mut self, hash: &str, text: &Value) -> Result<(), StorageError> {
        let bytes = serde_json::to_vec(text).expect("JSON values are always JSON");
        self.tables.put_all(
            tables::PROGRAMS,
            &mut [(hash.as_bytes(), Some(&bytes[..]))].into_iter(),
        )
    }

    fn table(&self, generation: u32) -> ViewTable {
        ViewTable {
            view_type: self.view_type.clone(),
            generation,
        }
    }
}

impl ViewStore {
    /// Makes a change of the generations of `view_type`: all of it, or nothing where `change` fails.
    ///
    /// # Errors
    /// What `change` says, or what failed.
    pub fn change_generations<T, E: From<StorageError>>(
        &self,
        view_type: &ViewType,
        mut change: impl FnMut(&mut GenerationChange<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut done = None;
        let written = self.write(&mut |tables| {
            let made = change(&mut GenerationChange { tables, view_type });
            let undone = made.is_err();
            done = Some(made);
            if undone {
                return Err(StorageError::Refused);
            }
            Ok(())
        });
        match (written, done) {
            (_, Some(Err(error))) => Err(error),
            (Ok(()), Some(Ok(made))) => Ok(made),
            (Err(error), _) => Err(error.into()),
            (Ok(()), None) => unreachable!("a transaction runs its change"),
        }
    }

    /// Removes up to `entries_max` entries of each table of a generation, whose checkpoint is gone already. Whether anything is left.
    ///
    /// # Errors
    /// The store cannot be written. What was removed before stays removed.
    pub fn clear_some(&self, table: &ViewTable, entries_max: usize) -> Result<bool, StorageError> {
        let mut names = tables::all_of(table);
        let indexes = self.snapshot()?.indexes(table)?;
        names.extend(
            indexes
                .iter()
                .map(|index| tables::index(table, &index.field)),
        );
        let mut anything_left = false;
        for name in names {
            let mut keys = Vec::new();
            self.kv.read()?.range(&name, &[], &mut |key, _| {
                keys.push(key.to_vec());
                if keys.len() > entries_max {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
            let more = keys.len() > entries_max;
            anything_left |= more;
            keys.truncate(entries_max);
            self.write(&mut |tables| {
                if more {
                    tables.put_all(&name, &mut keys.iter().map(|key| (&key[..], None)))
                } else {
                    tables.clear(&name)
                }
            })?;
        }
        Ok(anything_left)
    }
}

/// Refuses to write to `table` while views of it are exchanged: what is left of that would go over whatever is written in between.
pub(super) fn refuse_exchanging(
    tables: &mut dyn KvWrite,
    table: &ViewTable,
) -> Result<(), StorageError> {
    let known = generations(tables, &table.view_type)?;
    let exchanging =
        known.is_some_and(|known| known.exchange.is_some() && known.served == table.generation);
    if exchanging {
        let table = table.clone();
        return Err(StorageError::Exchanging { table });
    }
    Ok(())
}

/// Notes which generation a part is for, where that is new: the first one of a type is served, whatever it is.
pub(super) fn note_generation(
    tables: &mut dyn KvWrite,
    table: &ViewTable,
    program: &str,
) -> Result<(), StorageError> {
    let noted = match generations(tables, &table.view_type)? {
        None => Generations::first(table.generation, program),
        Some(mut noted) => {
            let shadow = || Generation::new(GenerationState::Shadow, program);
            let kept = noted.kept.entry(table.generation).or_insert_with(shadow);
            program.clone_into(&mut kept.program);
            noted
        }
    };
    put_generations(tables, &table.view_type, &noted)
}

fn generations(
    tables: &mut dyn KvWrite,
    view_type: &ViewType,
) -> Result<Option<Generations>, StorageError> {
    let bytes = tables.get(tables::GENERATIONS, view_type.as_str().as_bytes())?;
    bytes.map(|bytes| decode(&bytes)).transpose()
}

fn put_generations(
    tables: &mut dyn KvWrite,
    view_type: &ViewType,
    generations: &Generations,
) -> Result<(), StorageError> {
    let bytes = generations.encode();
    tables.put_all(
        tables::GENERATIONS,
        &mut [(view_type.as_str().as_bytes(), Some(&bytes[..]))].into_iter(),
    )
}

fn decode(bytes: &[u8]) -> Result<Generations, StorageError> {
    Generations::decode(bytes).map_err(|source| StorageError::Undecodable {
        what: "record of generations",
        source,
    })
}
