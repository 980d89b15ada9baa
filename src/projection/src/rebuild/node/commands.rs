//! Commands: what operators ask a node for.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{Node, NodeMode, Phase, Work};
use crate::{
    rebuild::{
        RebuildError,
        lineup::{find, wanted},
        only,
        records::{self, blocking},
    },
    storage::ViewStore,
    types::{Generation, GenerationState, Generations, Scope, ViewTable, ViewType},
};

/// What a node can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Make a new generation, to be served when it has caught up.
    Rebuild {
        /// The projection.
        projection: String,
        /// The first event that it is made of.
        #[serde(default = "first")]
        from: u64,
        /// What the rebuild is called in all shards. Asked for again by the same name, it is not begun a second time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// Remove the views that are served, and make them again.
    RebuildInPlace {
        /// The projection.
        projection: String,
    },
    /// Make a part of what is served again.
    RebuildPart {
        /// The projection.
        projection: String,
        /// Which part.
        scope: Scope,
    },
    /// Serve another generation, now.
    Cutover {
        /// The projection, or one generation of it.
        projection: String,
    },
    /// Serve what was served before.
    Rollback {
        /// The projection.
        projection: String,
        /// What is served now: nothing is done where it is another one, so that whoever asks twice goes back once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u32>,
    },
    /// Give a generation up, and clear it.
    Retire {
        /// The generation, such as `account@1`.
        generation: String,
    },
}

fn first() -> u64 {
    1
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The generation that it was done to.
    pub generation: String,
    /// What was done.
    pub what: String,
    /// Whether it goes on, and the progress of the generation shows when it is over.
    pub goes_on: bool,
    /// The rebuild that the generation is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<String>,
}

impl Done {
    fn now(table: &ViewTable, what: &str) -> Self {
        Self {
            generation: table.to_string(),
            what: what.to_owned(),
            goes_on: false,
            rebuild: None,
        }
    }

    fn of(self, rebuild: Option<String>) -> Self {
        Self { rebuild, ..self }
    }

    fn begun(table: &ViewTable, what: &str) -> Self {
        Self {
            goes_on: true,
            ..Self::now(table, what)
        }
    }
}

impl Node {
    pub(super) async fn obey(
        &self,
        work: &mut Work,
        command: Command,
    ) -> Result<Done, RebuildError> {
        match command {
            Command::Rebuild {
                projection,
                from,
                id,
            } => self.rebuild(work, &projection, from, id).await,
            Command::RebuildInPlace { projection } => self.in_place(work, &projection).await,
            Command::RebuildPart { projection, scope } => {
                self.rebuild_part(work, &projection, scope).await
            }
            Command::Cutover { projection } => self.cut_over(work, &projection).await,
            Command::Rollback { projection, from } => self.roll_back(work, &projection, from).await,
            Command::Retire { generation } => self.retire(work, &generation).await,
        }
    }

    async fn rebuild(
        &self,
        work: &mut Work,
        name: &str,
        from: u64,
        id: Option<String>,
    ) -> Result<Done, RebuildError> {
        let wanted = wanted(&self.manifest, name)?.clone();
        let view_type = wanted.table.view_type.clone();
        let found = self.store.snapshot()?.generations(&view_type)?;
        let found = found.ok_or(RebuildError::NothingServed {
            view_type: view_type.clone(),
        })?;
        if let Some(done) = made_already(&view_type, &found, id.as_deref()) {
            return Ok(done);
        }
        let hash = wanted.program.hash();
        let shadows = found
            .kept
            .iter()
            .filter(|(_, kept)| kept.state == GenerationState::Shadow);
        for (number, kept) in shadows {
            let shadow = records::table(&view_type, *number);
            let failed = work
                .beside
                .iter()
                .any(|run| run.table() == shadow && !run.goes_on());
            if kept.program == hash && kept.from == from && !failed {
                work.jobs.insert(shadow.clone());
                work.stale = true;
                let joined = shadow.clone();
                let joining = move |store: &ViewStore| records::join(store, &joined, id.as_deref());
                let rebuild = blocking(&self.store, joining).await?;
                return Ok(Done::begun(&shadow, "goes on being made").of(rebuild));
            }
            work.stop_beside(&shadow).await;
            blocking(&self.store, move |store| records::retire(store, &shadow)).await?;
        }
        let rebuild = id.clone();
        let begun = blocking(&self.store, move |store| {
            records::begin_as(store, &wanted, GenerationState::Shadow, from, id.as_deref())
        });
        let table = begun.await?;
        work.jobs.insert(table.clone());
        work.stale = true;
        Ok(Done::begun(&table, "is being made").of(rebuild))
    }

    async fn in_place(&self, work: &mut Work, name: &str) -> Result<Done, RebuildError> {
        let wanted = wanted(&self.manifest, name)?.clone();
        let served = self
            .store
            .snapshot()?
            .served_table(&wanted.table.view_type)?;
        if let Some(table) = table_named(name).filter(|table| Some(table) != served.as_ref()) {
            return Err(RebuildError::NoGeneration { table });
        }
        // What was made to go with these views goes with none that begin anew.
        work.stop_sides(&wanted.table.view_type).await;
        work.pause_served().await;
        work.stale = true;
        let cleared = blocking(&self.store, move |store| {
            records::rebuild_in_place(store, &wanted)
        });
        let table = cleared.await?;
        Ok(Done::now(
            &table,
            match self.mode {
                NodeMode::Serving => "is made again, and its views are incomplete until then",
                NodeMode::Job => "is empty; the node makes it again when it starts",
            },
        ))
    }

    async fn rebuild_part(
        &self,
        work: &mut Work,
        name: &str,
        scope: Scope,
    ) -> Result<Done, RebuildError> {
        let (projection, generations) = find(&self.store, &self.manifest, name)?;
        let served = projection.table.clone();
        if served.generation != generations.served {
            let kept = records::kept(&generations, &served)?;
            return Err(RebuildError::WrongState {
                state: kept.state.clone(),
                table: served,
                operation: "the rebuild of a part",
            });
        }
        let from = records::kept(&generations, &served)?.from;
        let state = GenerationState::Side {
            scope: scope.clone(),
        };
        let making = projection.clone();
        let begun = blocking(&self.store, move |store| {
            // The number of the table is that of what is served, and so below the next one.
            records::begin(store, &making, state, from)
        });
        let table = begun.await?;
        let part = only(&projection, &scope, table.clone());
        work.sides.push(self.make_part(part, served, from, scope));
        Ok(Done::begun(&table, "is being made on the side"))
    }

    async fn cut_over(&self, work: &mut Work, name: &str) -> Result<Done, RebuildError> {
        let table = self.target(name)?;
        let (to, lag_max) = (table.clone(), self.options.lag_max);
        blocking(&self.store, move |store| {
            records::cut_over(store, &to, lag_max, SystemTime::now())
        })
        .await?;
        if let Some(run) = work.beside.iter().find(|run| run.table() == table) {
            work.is_over(run.progress(), Phase::Served);
        }
        work.jobs.remove(&table);
        work.stale = true;
        Ok(Done::now(&table, "is served now"))
    }

    /// The generation that `name` means: itself, or the shadow of the type.
    fn target(&self, name: &str) -> Result<ViewTable, RebuildError> {
        if let Some(table) = table_named(name) {
            return Ok(table);
        }
        let view_type = ViewType::from(name);
        let found = self.store.snapshot()?.generations(&view_type)?;
        let found = found.ok_or_else(|| RebuildError::NothingServed {
            view_type: view_type.clone(),
        })?;
        let mut kept = found.kept.iter().rev();
        let shadow = kept.find(|(_, kept)| kept.state == GenerationState::Shadow);
        match shadow {
            Some((number, _)) => Ok(records::table(&view_type, *number)),
            None => Err(RebuildError::NoShadow { view_type }),
        }
    }

    async fn roll_back(
        &self,
        work: &mut Work,
        name: &str,
        from: Option<u32>,
    ) -> Result<Done, RebuildError> {
        let of_type = name.rsplit_once('@').map_or(name, |(of_type, _)| of_type);
        let view_type = ViewType::from(of_type);
        let back = blocking(&self.store, move |store| {
            records::roll_back_from(store, &view_type, from, SystemTime::now())
        });
        let table = back.await?;
        work.stale = true;
        Ok(Done::now(&table, "is served again"))
    }

    async fn retire(&self, work: &mut Work, name: &str) -> Result<Done, RebuildError> {
        let table = table_named(name).ok_or_else(|| RebuildError::Unknown {
            name: name.to_owned(),
        })?;
        let retired = table.clone();
        // Before its shard is stopped, since it may be refused.
        blocking(&self.store, move |store| records::retire(store, &retired)).await?;
        work.stop_beside(&table).await;
        work.stale = true;
        Ok(Done::begun(&table, "is being cleared"))
    }
}

/// What has become of the rebuild `id` here, where it is made to its end.
fn made_already(view_type: &ViewType, found: &Generations, id: Option<&str>) -> Option<Done> {
    let id = id?;
    let of_it = |kept: &Generation| kept.rebuild.as_deref() == Some(id);
    let (number, kept) = found.kept.iter().rfind(|(_, kept)| of_it(kept))?;
    let what = match kept.state {
        GenerationState::Served => "is served already",
        GenerationState::Old { .. } | GenerationState::Rejected { .. } => "was served already",
        _ => return None,
    };
    let table = records::table(view_type, *number);
    Some(Done::now(&table, what).of(kept.rebuild.clone()))
}

/// The table that a text such as `account@2` names.
fn table_named(name: &str) -> Option<ViewTable> {
    let (of_type, number) = name.rsplit_once('@')?;
    Some(records::table(&of_type.into(), number.parse().ok()?))
}
