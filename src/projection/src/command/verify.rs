//! `verify`: whether the views are what the stream makes, byte for byte, in all shards or in one. A store here is read beside the node that owns it; where nodes share shards, each owner compares its own.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;
use futures::{StreamExt, stream};
use reqwest::Method;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Outcome,
    fleet::Fleet,
    node::{Node, Place},
    rebuild::{Failure, Shown},
    say,
    seat::SHOWN_EVERY,
    with_causes,
};
use crate::{
    rebuild::{
        JetStreamSources, Progress, RebuildOptions, VERIFY_PATH, Verification, Verified,
        Verify as Asked, VerifyOutcome, verify,
    },
    shards::ShardId,
};

/// For views that are not what the stream makes.
const DIFFERENT: u8 = 2;
/// How many owners compare at a time.
const AT_ONCE_MAX: usize = 32;
/// How often a shard is asked for the same, as owners come and go.
const ASKED_MAX: usize = 10;

/// Compare views with what the stream makes, byte for byte. Ends with 2 where they differ.
#[derive(Args)]
pub(super) struct Verify {
    /// The projection, which stands for what is served of it, or one generation such as account@2.
    projection: String,
    /// An empty folder for the second reading, or one to be made, which is removed then; beside the store, unless given.
    #[arg(long, conflicts_with = "node")]
    scratch: Option<PathBuf>,
    /// A node that runs, which passes on what is for others.
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// How long to wait for somebody who answers for a shard, such as while it moves to another node.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// As one JSON document.
    #[arg(long)]
    json: bool,
}

/// What was found in one shard.
struct Found {
    shard: Option<ShardId>,
    verified: Result<Verified, Failure>,
}

impl Verify {
    pub(super) async fn run(self, place: Place<'_>) -> Outcome {
        let again = format!("verify {}", self.projection);
        let fleet = self.fleet(place).await?;
        let shards = match &fleet {
            Some((_, shards)) => shards.clone(),
            None => Node::load(place)?.shards(place)?,
        };
        let shown = Shown::new(self.json, shards.len() > 1, again);
        let mut found = Vec::new();
        if let Some((fleet, _)) = &fleet {
            let (this, shown) = (&self, &shown);
            let asking = stream::iter(shards).map(|shard| async move {
                let number = shard.unwrap_or_default();
                let verified = this.by_owner(fleet, number, shard, shown).await;
                Found { shard, verified }
            });
            found = asking.buffered(AT_ONCE_MAX).collect().await;
        } else {
            for shard in shards {
                let node = Node::of_shard(Place {
                    shard: Some(shard.unwrap_or_default()),
                    ..place
                })?;
                let verified = self.here(&node, shard, &shown).await;
                let verified = verified.map_err(|error| Failure::new(with_causes(&*error)));
                found.push(Found { shard, verified });
            }
        }
        if found.len() == 1 && place.shard.is_none() {
            return self.tell_one(found.remove(0));
        }
        self.tell_all(&found)
    }

    /// The nodes that are asked, and for which shards; `None` where the stores are here.
    async fn fleet(
        &self,
        place: Place<'_>,
    ) -> Result<Option<(Fleet, Vec<Option<ShardId>>)>, Box<dyn std::error::Error>> {
        if let Some(url) = &self.node {
            return Ok(Some(Fleet::at(place, url, self.patience).await?));
        }
        let node = Node::load(place)?;
        if node.settings.leases.is_none() {
            return Ok(None);
        }
        let fleet = Fleet::find(&node, None, self.patience).await?;
        Ok(Some((fleet, node.shards(place)?)))
    }

    /// Of the store of a shard here.
    async fn here(
        &self,
        node: &Node,
        shard: Option<ShardId>,
        shown: &Shown,
    ) -> Result<Verified, Box<dyn std::error::Error>> {
        let store = node.readable()?;
        let batch = RebuildOptions::of(&node.settings).batch;
        let options = node.options().with_batches(batch);
        let scratch = self.scratch.clone().unwrap_or_else(|| {
            let mut beside = node.settings.storage_path.clone().into_os_string();
            beside.push(format!(".verify-{}", std::process::id()));
            beside.into()
        });
        let mut steps = Steps::default();
        let mut show = |progress: Progress| {
            if steps.is_due(&progress) && !self.json {
                shown.progress(shard, &progress);
            }
        };
        let sources = JetStreamSources::new(&node.settings);
        let verified = verify(
            &store,
            &node.manifest,
            &options,
            &sources,
            &self.projection,
            &scratch,
            &mut show,
        );
        Ok(verified.await?)
    }

    /// By the node that owns the shard, whoever that is meanwhile.
    async fn by_owner(
        &self,
        fleet: &Fleet,
        shard: ShardId,
        named: Option<ShardId>,
        shown: &Shown,
    ) -> Result<Verified, Failure> {
        let asked = Asked {
            projection: self.projection.clone(),
            id: format!("v-{:08x}", fastrand::u32(..)),
        };
        let unanswered = |error| shown.unanswered(named, error);
        let mut ticks = interval(SHOWN_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut steps = Steps::default();
        for _ in 0..ASKED_MAX {
            let body = serde_json::to_value(&asked).expect("text is always JSON");
            let begun = fleet.ask(shard, Method::POST, VERIFY_PATH, Some(body));
            let _: Verification = begun.await.map_err(unanswered)?;
            loop {
                ticks.tick().await;
                let last = fleet.ask(shard, Method::GET, VERIFY_PATH, None);
                let last: Option<Verification> = last.await.map_err(unanswered)?;
                // Where it is not there, the shard has another owner, who is asked for the same.
                let Some(last) = last.filter(|last| last.asked.id == asked.id) else {
                    break;
                };
                match last.outcome {
                    Some(VerifyOutcome::Verified(verified)) => return Ok(verified),
                    // It ended with its tenure, and is asked for again from the next owner.
                    Some(VerifyOutcome::Stopped) => break,
                    Some(VerifyOutcome::Failed { why }) => return Err(Failure::new(why)),
                    None => {}
                }
                if let Some(progress) = last.progress.filter(|progress| steps.is_due(progress))
                    && !self.json
                {
                    shown.progress(named, &progress);
                }
            }
        }
        Err(
            Failure::new("the shard does not stay with one node for long enough")
                .mended("projection shards"),
        )
    }

    fn tell_one(&self, found: Found) -> Outcome {
        let verified = found.verified.map_err(|failure| failure.why)?;
        if self.json {
            say(&serde_json::to_string_pretty(&verified)?)?;
        } else {
            tell(&verified, "")?;
        }
        Ok(code(verified.is_right()))
    }

    fn tell_all(&self, found: &[Found]) -> Outcome {
        #[derive(Serialize)]
        struct OfShard<'a> {
            shard: Option<ShardId>,
            verified: Option<&'a Verified>,
            failed: Option<&'a Failure>,
        }
        if self.json {
            let shards = found.iter().map(|found| OfShard {
                shard: found.shard,
                verified: found.verified.as_ref().ok(),
                failed: found.verified.as_ref().err(),
            });
            let shards: Vec<_> = shards.collect();
            say(&serde_json::to_string_pretty(
                &serde_json::json!({ "shards": shards }),
            )?)?;
        } else {
            for found in found {
                let shard = found.shard.unwrap_or_default();
                match &found.verified {
                    Ok(verified) => tell(verified, &format!("shard {shard}: "))?,
                    Err(failure) => {
                        let mend = failure.mend.iter().map(|mend| format!("\n  mend: {mend}"));
                        let mend: String = mend.collect();
                        say(&format!("shard {shard}: failed: {}{mend}", failure.why))?
                    }
                };
            }
        }
        let failed = found.iter().filter(|found| found.verified.is_err()).count();
        if failed > 0 {
            return Err(format!("{failed} of {} shards were not compared", found.len()).into());
        }
        let mut all = found
            .iter()
            .filter_map(|found| found.verified.as_ref().ok());
        Ok(code(all.all(Verified::is_right)))
    }
}

fn code(right: bool) -> ExitCode {
    if right {
        ExitCode::SUCCESS
    } else {
        DIFFERENT.into()
    }
}

/// A line for each twentieth of the way.
#[derive(Default)]
struct Steps {
    last: u64,
}

impl Steps {
    fn is_due(&mut self, progress: &Progress) -> bool {
        let step = progress.done * 20 / progress.total.max(1);
        let due = step > self.last;
        self.last = self.last.max(step);
        due
    }
}

fn tell(verified: &Verified, of_shard: &str) -> Outcome {
    for difference in &verified.differences {
        let shown = |bytes: &Option<String>| bytes.clone().unwrap_or_else(|| "nothing".to_owned());
        let note = if difference.quarantined {
            " (has events in quarantine)"
        } else {
            ""
        };
        say(&format!("{of_shard}{}{note}", difference.key))?;
        say(&format!("  stored:   {}", shown(&difference.stored)))?;
        say(&format!("  replayed: {}", shown(&difference.replayed)))?;
    }
    let verdict = if verified.is_right() {
        "right"
    } else {
        "WRONG"
    };
    say(&format!(
        "{of_shard}{} at event {}: {} views, {} differ, {} of them because of events in quarantine: {verdict}",
        verified.generation, verified.floor, verified.views, verified.different, verified.excused
    ))
}
