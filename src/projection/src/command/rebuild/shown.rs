//! What is shown: how far each shard is, what became of it, and what to do about those that failed.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use serde::Serialize;

use super::super::{Outcome, fleet::Unanswered, say};
use crate::{
    rebuild::{Done, Progress},
    shards::ShardId,
};

/// How the work on one shard ended.
#[derive(Serialize)]
pub(super) struct Ending {
    pub(super) done: Done,
    pub(super) progress: Option<Progress>,
}

impl From<Done> for Ending {
    fn from(done: Done) -> Self {
        Self {
            done,
            progress: None,
        }
    }
}

/// Why the work on one shard did not end well.
#[derive(Debug, Serialize)]
pub(in crate::command) struct Failure {
    pub(in crate::command) why: String,
    /// What to do about it.
    pub(in crate::command) mend: Option<String>,
}

impl Failure {
    pub(in crate::command) fn new(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            mend: None,
        }
    }

    pub(in crate::command) fn mended(self, mend: impl Into<String>) -> Self {
        Self {
            mend: Some(mend.into()),
            ..self
        }
    }
}

/// What became of one shard.
pub(super) struct Told {
    pub(super) shard: Option<ShardId>,
    pub(super) outcome: Result<Ending, Failure>,
}

/// Shows the work on shards while it goes on, and its end.
pub(in crate::command) struct Shown {
    json: bool,
    several: bool,
    /// The command without the shard, to be asked again.
    again: String,
}

impl Shown {
    pub(in crate::command) fn new(json: bool, several: bool, again: String) -> Self {
        Self {
            json,
            several,
            again,
        }
    }

    /// The command that asks one shard again.
    pub(in crate::command) fn again(&self, shard: Option<ShardId>) -> String {
        match shard {
            Some(shard) => format!("projection --shard {shard} {}", self.again),
            None => format!("projection {}", self.again),
        }
    }

    /// What is to be done where nobody did what was asked.
    pub(in crate::command) fn unanswered(
        &self,
        shard: Option<ShardId>,
        error: Unanswered,
    ) -> Failure {
        match error {
            Unanswered::Refused(why) => Failure::new(why),
            Unanswered::Away(why) | Unanswered::Unreached(why) => {
                Failure::new(why).mended(format!(
                    "start a node, or wait until the lease has run out; then {}",
                    self.again(shard)
                ))
            }
        }
    }

    /// Shows how far a shard is.
    pub(in crate::command) fn progress(&self, shard: Option<ShardId>, progress: &Progress) {
        #[derive(Serialize)]
        struct OfShard<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            shard: Option<ShardId>,
            #[serde(flatten)]
            progress: &'a Progress,
        }
        let mut out = io::stderr();
        let _ = if self.json {
            let line = serde_json::to_string(&OfShard { shard, progress });
            writeln!(out, "{}", line.unwrap_or_default())
        } else if let Some(shard) = shard {
            writeln!(out, "shard {shard}: {progress}")
        } else if out.is_terminal() {
            // One line that changes.
            write!(out, "\r\x1b[2K{progress}")
        } else {
            writeln!(out, "{progress}")
        };
    }

    /// Says what happens to a shard that is not progress.
    pub(in crate::command) fn note(&self, shard: Option<ShardId>, text: &str) {
        if !self.json {
            let _ = match shard {
                Some(shard) => writeln!(io::stderr(), "shard {shard}: {text}"),
                None => writeln!(io::stderr(), "{text}"),
            };
        }
    }

    /// Says what became of all shards. It is an error if it is of any.
    pub(super) fn end(&self, told: Vec<Told>) -> Outcome {
        if self.several {
            return self.end_of_several(&told);
        }
        if !self.json && io::stderr().is_terminal() {
            let _ = writeln!(io::stderr());
        }
        for told in told {
            match told.outcome {
                Err(Failure { why, mend: None }) => return Err(why.into()),
                Err(Failure {
                    why,
                    mend: Some(mend),
                }) => return Err(format!("{why}\n  mend: {mend}").into()),
                Ok(ending) if self.json => say(&serde_json::to_string(&ending)?)?,
                Ok(ending) => say(&text(&ending))?,
            };
        }
        Ok(ExitCode::SUCCESS)
    }

    fn end_of_several(&self, told: &[Told]) -> Outcome {
        #[derive(Serialize)]
        struct OfShard<'a> {
            shard: Option<ShardId>,
            #[serde(flatten)]
            ending: Option<&'a Ending>,
            failed: Option<&'a Failure>,
        }
        let failed = told.iter().filter(|told| told.outcome.is_err()).count();
        if self.json {
            let shards = told.iter().map(|told| OfShard {
                shard: told.shard,
                ending: told.outcome.as_ref().ok(),
                failed: told.outcome.as_ref().err(),
            });
            let shards: Vec<_> = shards.collect();
            say(&serde_json::json!({ "failed": failed, "shards": shards }).to_string())?;
        } else {
            for told in told {
                let shard = told.shard.unwrap_or_default();
                match &told.outcome {
                    Ok(ending) => say(&format!("shard {shard}: {}", text(ending)))?,
                    Err(failure) => {
                        let mend = failure.mend.as_ref();
                        let mend =
                            mend.map_or_else(String::new, |mend| format!("\n  mend: {mend}"));
                        say(&format!("shard {shard}: failed: {}{mend}", failure.why))?
                    }
                };
            }
        }
        if failed == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        Err(format!("{failed} of {} shards failed", told.len()).into())
    }
}

fn text(ending: &Ending) -> String {
    match &ending.progress {
        Some(progress) => progress.to_string(),
        None => format!("{} {}", ending.done.generation, ending.done.what),
    }
}
