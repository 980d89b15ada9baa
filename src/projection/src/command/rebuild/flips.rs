//! Flips: another generation is served in all shards, or in none.
//!
//! All shards are looked at before the first one is flipped, and then they are flipped one right after the other. Each flip is one transaction of its shard, so a view is of one generation at any moment; a query of many views that comes between the first flip and the last sees some of each.
//! Asked again after a part has failed, it goes on with those that are left.

use futures::future::join_all;

use super::{
    super::seat::Seat,
    making::{done, generation, of_type},
    shown::{Ending, Failure, Shown, Told},
};
use crate::{
    rebuild::{Command, Phase, Progress, http::Rebuilds},
    types::{Generation, GenerationState, Generations},
};

/// What is to be done with a shard.
enum Plan {
    Flip(Command),
    /// It was done before.
    Already(Ending),
    Not(Failure),
}

/// Which making of the views a generation is, wherever it is.
type Making = (Option<String>, String);

fn making(kept: &Generation) -> Making {
    (kept.rebuild.clone(), kept.program.clone())
}

/// Serves in each shard the generation that is being made there, or the one that is named.
pub(super) async fn cut_over(seats: &[Seat], name: &str, shown: &Shown) -> Vec<Told> {
    let found = look(seats, shown).await;
    let shadows: Vec<_> = found
        .iter()
        .filter_map(|found| of_type(found.as_ref().ok()?, name))
        .filter_map(|all| target(all, name))
        .map(|(_, kept)| making(kept))
        .collect();
    let plan = |seat: &Seat, rebuilds: &Rebuilds| {
        let Some(all) = of_type(rebuilds, name) else {
            return Plan::Not(Failure::new(format!("nothing of {name} is served yet")));
        };
        let served = all.kept.get(&all.served);
        match target(all, name) {
            Some((number, _)) if number == all.served => {
                Plan::Already(done(generation(name, number), "is served already").into())
            }
            Some((number, kept)) => {
                let projection = generation(name, number);
                match behind(rebuilds, &projection, kept) {
                    // Alone it is refused by its owner, which knows best.
                    Some(why) if seats.len() > 1 => {
                        Plan::Not(Failure::new(why).mended(
                            "wait until it has caught up (projection status), and ask again",
                        ))
                    }
                    _ => Plan::Flip(Command::Cutover { projection }),
                }
            }
            None if served.is_some_and(|served| shadows.contains(&making(served))) => {
                Plan::Already(done(generation(name, all.served), "is served already").into())
            }
            // Alone it is refused by its owner.
            None if seats.len() == 1 => Plan::Flip(Command::Cutover {
                projection: name.to_owned(),
            }),
            None => {
                let of_type = name.rsplit_once('@').map_or(name, |(of_type, _)| of_type);
                let begin = seat
                    .shard
                    .map_or_else(String::new, |shard| format!("--shard {shard} "));
                let why = format!("no other generation of {of_type} is being made");
                Plan::Not(Failure::new(why).mended(format!("projection {begin}rebuild {of_type}")))
            }
        }
    };
    flip_all(seats, found, plan, shown).await
}

/// The generation that `name` means: itself, or the newest that is being made.
fn target<'g>(all: &'g Generations, name: &str) -> Option<(u32, &'g Generation)> {
    if let Some((_, number)) = name.rsplit_once('@') {
        let number = number.parse().ok()?;
        return all.kept.get(&number).map(|kept| (number, kept));
    }
    let mut kept = all.kept.iter();
    let shadow = kept.rfind(|(_, kept)| kept.state == GenerationState::Shadow)?;
    Some((*shadow.0, shadow.1))
}

/// Why a generation that is being made is not to be served yet.
fn behind(rebuilds: &Rebuilds, generation: &str, kept: &Generation) -> Option<String> {
    if kept.state != GenerationState::Shadow {
        return None;
    }
    let mut all = rebuilds.progress.iter();
    // Without a node nothing is shown, and the store is asked.
    let progress = all.rfind(|one| one.generation == generation)?;
    match &progress.phase {
        Phase::CaughtUp => None,
        Phase::Failed { why } => Some(format!("{generation} is not made: {why}")),
        _ => Some(format!(
            "{generation} is at {} of {}",
            progress.done, progress.total
        )),
    }
}

/// Serves in each shard what was served before.
pub(super) async fn roll_back(seats: &[Seat], name: &str, shown: &Shown) -> Vec<Told> {
    let found = look(seats, shown).await;
    // What those serve that did not go back.
    let ahead: Vec<_> = found
        .iter()
        .filter_map(|found| of_type(found.as_ref().ok()?, name))
        .filter(|all| !last_went_back(all))
        .filter_map(|all| all.kept.get(&all.served).map(making))
        .collect();
    let plan = |seat: &Seat, rebuilds: &Rebuilds| {
        let Some(all) = of_type(rebuilds, name) else {
            return Plan::Not(Failure::new(format!("nothing of {name} is served yet")));
        };
        if went_back_from(all, &ahead) {
            return Plan::Already(done(generation(name, all.served), "is served again").into());
        }
        if all.way_back().is_none() && seats.len() > 1 {
            let shard = seat.shard.unwrap_or_default();
            return Plan::Not(
                Failure::new("nothing that was served before is still there").mended(format!(
                    "give the manifest the program of before, and projection --shard {shard} rebuild {name}"
                )),
            );
        }
        Plan::Flip(Command::Rollback {
            projection: name.to_owned(),
            from: Some(all.served),
        })
    };
    flip_all(seats, found, plan, shown).await
}

fn last_went_back(all: &Generations) -> bool {
    all.history.last().is_some_and(|flip| flip.back)
}

/// Whether the last flip went back from what others still serve.
fn went_back_from(all: &Generations, ahead: &[Making]) -> bool {
    let Some(flip) = all.history.last().filter(|flip| flip.back) else {
        return false;
    };
    match all.kept.get(&flip.from) {
        Some(left) => ahead.contains(&making(left)),
        None => ahead
            .iter()
            .any(|(_, program)| all.rejected.as_ref() == Some(program)),
    }
}

/// Why no shard may retire `name`, where any of them serves it.
pub(super) async fn refuse_served(seats: &[Seat], name: &str) -> Option<Vec<Told>> {
    let (_, number) = name.rsplit_once('@')?;
    let number: u32 = number.parse().ok()?;
    if seats.len() < 2 {
        return None;
    }
    let mut told = Vec::new();
    for seat in seats {
        let Ok(rebuilds) = seat.rebuilds().await else {
            continue;
        };
        if of_type(&rebuilds, name).is_some_and(|all| all.served == number) {
            let failure = Failure::new(format!(
                "{name} is served: nothing was retired, in no shard"
            ));
            told.push(Told {
                shard: seat.shard,
                outcome: Err(failure.mended(
                    "retire the type without a number, which stands for all that were served before",
                )),
            });
        }
    }
    (!told.is_empty()).then_some(told)
}

async fn look(seats: &[Seat], shown: &Shown) -> Vec<Result<Rebuilds, Failure>> {
    let looking = seats.iter().map(async |seat| {
        let found = seat.rebuilds().await;
        found.map_err(|error| shown.unanswered(seat.shard, error))
    });
    join_all(looking).await
}

async fn flip_all(
    seats: &[Seat],
    found: Vec<Result<Rebuilds, Failure>>,
    plan: impl Fn(&Seat, &Rebuilds) -> Plan,
    shown: &Shown,
) -> Vec<Told> {
    let plans: Vec<_> = seats
        .iter()
        .zip(found)
        .map(|(seat, found)| match found {
            Ok(rebuilds) => plan(seat, &rebuilds),
            Err(failure) => Plan::Not(failure),
        })
        .collect();
    let refused = plans.iter().any(|plan| matches!(plan, Plan::Not(_)));
    let mut told = Vec::new();
    for (seat, plan) in seats.iter().zip(plans) {
        let outcome = match plan {
            Plan::Already(ending) => Ok(ending),
            Plan::Not(failure) => Err(failure),
            Plan::Flip(_) if refused => Err(Failure::new(
                "it is ready and was not flipped, since not all are ready",
            )),
            Plan::Flip(command) => flip(seat, &command, shown).await,
        };
        told.push(Told {
            shard: seat.shard,
            outcome,
        });
    }
    told
}

async fn flip(seat: &Seat, command: &Command, shown: &Shown) -> Result<Ending, Failure> {
    let show = |progress: &Progress| shown.progress(seat.shard, progress);
    let error = match seat.ask(command, &show).await {
        Ok(answered) => return Ok(answered.done.into()),
        Err(error) => error,
    };
    // An answer that was lost is no reason to flip twice, or to call it failed.
    if let Ok(rebuilds) = seat.rebuilds().await
        && let Some(ending) = was_done(&rebuilds, command)
    {
        return Ok(ending);
    }
    let failure = shown.unanswered(seat.shard, error);
    Err(match failure.mend {
        None if seat.shard.is_some() => failure.mended(format!(
            "{}, which goes on with those that are left",
            shown.again(None)
        )),
        _ => failure,
    })
}

/// Whether what `command` asks for is so.
fn was_done(rebuilds: &Rebuilds, command: &Command) -> Option<Ending> {
    let (name, what) = match command {
        Command::Cutover { projection } => (projection, "is served now"),
        Command::Rollback { projection, .. } => (projection, "is served again"),
        _ => return None,
    };
    let all = of_type(rebuilds, name)?;
    let so = match command {
        Command::Rollback { from, .. } => {
            let last = all.history.last().filter(|flip| flip.back);
            last.is_some_and(|flip| Some(flip.from) == *from)
        }
        _ => generation(name, all.served) == *name,
    };
    so.then(|| done(generation(name, all.served), what).into())
}
