//! Making: what one shard is asked for, and followed to its end, whoever owns the shard meanwhile.
//!
//! A shard that moves does not bring its generations along. So who follows one looks at what is there and not at what was answered before: where nothing of it is there any more, the new owner is asked for the same.

use tokio::time::{MissedTickBehavior, interval};

use super::{
    super::seat::{SHOWN_EVERY, Seat},
    Making,
    shown::{Ending, Failure},
};
use crate::{
    rebuild::{Command, Done, Phase, Progress, http::Rebuilds},
    types::{Generation, GenerationState, Generations, ViewTable},
};

/// How often a shard is asked for the same, as owners come and go.
const ASKED_MAX: usize = 10;

/// What is seen of something that was asked for.
enum Seen {
    /// It goes on.
    Going(Option<Progress>),
    /// It ended.
    Over(Result<Ending, Failure>),
    /// It is not there: another node has the shard, or it was given up.
    Gone,
}

/// What a rebuild of all shards is called: what it was called before, where a part of it is still being made.
pub(super) async fn id_for(seats: &[Seat], projection: &str, from: u64) -> String {
    if seats.len() > 1 {
        for seat in seats {
            let Ok(rebuilds) = seat.rebuilds().await else {
                continue;
            };
            let found = of_type(&rebuilds, projection).and_then(|all| {
                let mut kept = all.kept.values();
                let shadow = kept.find(|kept| {
                    kept.state == GenerationState::Shadow
                        && kept.from == from
                        && kept.rebuild.is_some()
                })?;
                shadow.rebuild.clone()
            });
            if let Some(id) = found {
                return id;
            }
        }
    }
    format!("r-{:08x}", fastrand::u32(..))
}

/// The generations of the type of `name`.
pub(super) fn of_type<'r>(rebuilds: &'r Rebuilds, name: &str) -> Option<&'r Generations> {
    let of_type = name.rsplit_once('@').map_or(name, |(of_type, _)| of_type);
    let mut types = rebuilds.types.iter();
    let found = types.find(|found| found.view_type == of_type)?;
    Some(&found.generations)
}

/// The generation `number` of the type of `name`, as it is shown.
pub(super) fn generation(name: &str, number: u32) -> String {
    let of_type = name.rsplit_once('@').map_or(name, |(of_type, _)| of_type);
    let table = ViewTable {
        view_type: of_type.into(),
        generation: number,
    };
    table.to_string()
}

pub(super) fn done(generation: String, what: &str) -> Done {
    Done {
        generation,
        what: what.to_owned(),
        goes_on: false,
        rebuild: None,
    }
}

impl Making<'_> {
    fn show(&self, progress: &Progress) {
        self.shown.progress(self.seat.shard, progress);
    }

    async fn ask(&self, command: &Command) -> Result<super::super::seat::Answer, Failure> {
        let show = |progress: &Progress| self.show(progress);
        let answered = self.seat.ask(command, &show).await;
        answered.map_err(|error| self.shown.unanswered(self.seat.shard, error))
    }

    /// Asks for what is done when it is answered.
    pub(super) async fn at_once(&self, command: &Command) -> Result<Ending, Failure> {
        let answer = self.ask(command).await?;
        Ok(Ending {
            done: answer.done,
            progress: answer.last,
        })
    }

    /// Makes a new generation, and follows it until it is served.
    pub(super) async fn rebuild(
        &self,
        projection: &str,
        from: u64,
        id: &str,
    ) -> Result<Ending, Failure> {
        let mut id = id.to_owned();
        for _ in 0..ASKED_MAX {
            let command = Command::Rebuild {
                projection: projection.to_owned(),
                from,
                id: Some(id.clone()),
            };
            let answer = self.ask(&command).await?;
            if let Some(called) = &answer.done.rebuild {
                id.clone_from(called);
            }
            if self.detach || !answer.done.goes_on {
                return Ok(Ending {
                    done: answer.done,
                    progress: answer.last,
                });
            }
            let look = |rebuilds: &Rebuilds| seen_of_rebuild(rebuilds, projection, &id);
            if let Some(over) = self.follow(look).await? {
                return Ok(over);
            }
        }
        Err(self.was_asked_too_often())
    }

    /// Makes a part of what is served again, and follows it until it was exchanged.
    pub(super) async fn part(&self, command: &Command) -> Result<Ending, Failure> {
        for _ in 0..ASKED_MAX {
            let answer = self.ask(command).await?;
            if self.detach || !answer.done.goes_on {
                return Ok(Ending {
                    done: answer.done,
                    progress: answer.last,
                });
            }
            let look = |rebuilds: &Rebuilds| seen_of_part(rebuilds, &answer.done);
            if let Some(over) = self.follow(look).await? {
                return Ok(over);
            }
        }
        Err(self.was_asked_too_often())
    }

    /// Gives up what `name` stands for, and follows it until it is cleared.
    pub(super) async fn retire(&self, name: &str) -> Result<Ending, Failure> {
        let unanswered = |error| self.shown.unanswered(self.seat.shard, error);
        let rebuilds = self.seat.rebuilds().await.map_err(unanswered)?;
        let wanted = to_retire(&rebuilds, name);
        let mut ending = Ending::from(done(name.to_owned(), "is not there"));
        for number in wanted {
            let generation = generation(name, number);
            let command = Command::Retire {
                generation: generation.clone(),
            };
            let answer = self.ask(&command).await?;
            if !self.detach && answer.done.goes_on {
                let look = |rebuilds: &Rebuilds| {
                    let all = of_type(rebuilds, name);
                    let left = all.and_then(|all| all.kept.get(&number));
                    // On a new owner it may be another one, which nobody asked to clear.
                    match left.map(|left| &left.state) {
                        Some(GenerationState::Retiring) => Seen::Going(None),
                        _ => Seen::Over(Ok(done(generation.clone(), "is cleared").into())),
                    }
                };
                if let Some(over) = self.follow(look).await? {
                    ending = over;
                }
                continue;
            }
            ending = answer.done.into();
        }
        Ok(ending)
    }

    /// Shows something until it is over. Nothing where it is not there any more.
    async fn follow(&self, look: impl Fn(&Rebuilds) -> Seen) -> Result<Option<Ending>, Failure> {
        let mut ticks = interval(SHOWN_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let unanswered = |error| self.shown.unanswered(self.seat.shard, error);
            let rebuilds = self.seat.rebuilds().await.map_err(unanswered)?;
            match look(&rebuilds) {
                Seen::Going(Some(progress)) => self.show(&progress),
                Seen::Going(None) => {}
                Seen::Over(ended) => return ended.map(Some),
                Seen::Gone => {
                    let text = "is with a node that has nothing of it, which is asked for the same";
                    self.shown.note(self.seat.shard, text);
                    return Ok(None);
                }
            }
        }
    }

    fn was_asked_too_often(&self) -> Failure {
        Failure::new(format!(
            "it was asked for {ASKED_MAX} times, and each time it was gone before it was made"
        ))
        .mended(format!(
            "see by projection shards why it does not stay with one node; then {}",
            self.shown.again(self.seat.shard)
        ))
    }
}

/// The generations of a shard that `name` stands for: one, or all that were served before.
fn to_retire(rebuilds: &Rebuilds, name: &str) -> Vec<u32> {
    let Some(all) = of_type(rebuilds, name) else {
        return Vec::new();
    };
    if let Some((_, number)) = name.rsplit_once('@') {
        let number = number.parse().ok();
        return number
            .filter(|number| all.kept.contains_key(number))
            .into_iter()
            .collect();
    }
    let over = |kept: &Generation| {
        matches!(
            kept.state,
            GenerationState::Old { .. } | GenerationState::Rejected { .. }
        )
    };
    let over = all.kept.iter().filter(|(_, kept)| over(kept));
    over.map(|(number, _)| *number).collect()
}

fn seen_of_rebuild(rebuilds: &Rebuilds, projection: &str, id: &str) -> Seen {
    let all = of_type(rebuilds, projection);
    let found = all.and_then(|all| {
        let mut kept = all.kept.iter();
        kept.rfind(|(_, kept)| kept.rebuild.as_deref() == Some(id))
    });
    let Some((number, kept)) = found else {
        return Seen::Gone;
    };
    let generation = generation(projection, *number);
    let of_it = || {
        let all = rebuilds.progress.iter();
        all.filter(|one| one.generation == generation)
    };
    let progress = of_it().next_back().cloned();
    let ends = |what: &str| {
        let served = of_it().find(|one| one.phase == Phase::Served);
        Seen::Over(Ok(Ending {
            done: done(generation.clone(), what),
            progress: served.cloned(),
        }))
    };
    match &kept.state {
        GenerationState::Served => ends("is served"),
        GenerationState::Old { .. } => ends("was served"),
        GenerationState::Rejected { .. } => {
            let why = format!("{generation} was gone back from");
            Seen::Over(Err(Failure::new(why)))
        }
        GenerationState::Retiring => {
            Seen::Over(Err(Failure::new(format!("{generation} was given up"))))
        }
        GenerationState::Shadow | GenerationState::Side { .. } => {
            match progress.as_ref().map(|progress| &progress.phase) {
                Some(Phase::Failed { why }) => Seen::Over(Err(Failure::new(why.clone()))),
                Some(Phase::CaughtUp) if rebuilds.cutover_by_command => Seen::Over(Ok(Ending {
                    done: done(generation, "has caught up, and is served at the command"),
                    progress,
                })),
                _ => Seen::Going(progress),
            }
        }
    }
}

fn seen_of_part(rebuilds: &Rebuilds, begun: &Done) -> Seen {
    // What was served is kept going as well, and then it is there twice.
    let of_it = || {
        let all = rebuilds.progress.iter();
        all.filter(|one| one.generation == begun.generation)
    };
    let over = of_it().find(|one| one.phase.is_over());
    match over.or_else(|| of_it().next()) {
        None => Seen::Gone,
        Some(one) => match &one.phase {
            Phase::Failed { why } => Seen::Over(Err(Failure::new(why.clone()))),
            phase if phase.is_over() => Seen::Over(Ok(Ending {
                done: begun.clone(),
                progress: Some(one.clone()),
            })),
            _ => Seen::Going(Some(one.clone())),
        },
    }
}
