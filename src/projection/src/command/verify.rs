//! `verify`: whether the views are what the stream makes, byte for byte.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::{Outcome, node::Node, say};
use crate::rebuild::{JetStreamSources, Progress, RebuildOptions, Verified, verify};

/// For views that are not what the stream makes.
const DIFFERENT: u8 = 2;

/// Compare views with what the stream makes, byte for byte. Ends with 2 where they differ.
#[derive(Args)]
pub(super) struct Verify {
    /// The projection, which stands for what is served of it, or one generation such as account@2.
    projection: String,
    /// The folder for the second reading, which is removed; beside the store, unless given.
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// As one JSON document.
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) async fn run(self, node: &Node) -> Outcome {
        let store = node.readable()?;
        let batch = RebuildOptions::of(&node.settings).batch;
        let options = node.options().with_batches(batch);
        let scratch = self.scratch.unwrap_or_else(|| {
            let mut beside = node.settings.storage_path.clone().into_os_string();
            beside.push(format!(".verify-{}", std::process::id()));
            beside.into()
        });
        let mut last = 0;
        let mut show = |progress: Progress| {
            // A line for each twentieth of the way.
            let step = progress.done * 20 / progress.total.max(1);
            if step > last && !self.json {
                last = step;
                let _ = writeln!(io::stderr(), "{progress}");
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
        )
        .await?;
        if self.json {
            say(&serde_json::to_string_pretty(&verified)?)?;
        } else {
            tell(&verified)?;
        }
        Ok(if verified.is_right() {
            ExitCode::SUCCESS
        } else {
            DIFFERENT.into()
        })
    }
}

fn tell(verified: &Verified) -> Outcome {
    for difference in &verified.differences {
        let shown = |bytes: &Option<String>| bytes.clone().unwrap_or_else(|| "nothing".to_owned());
        let note = if difference.quarantined {
            " (has events in quarantine)"
        } else {
            ""
        };
        say(&format!("{}{note}", difference.key))?;
        say(&format!("  stored:   {}", shown(&difference.stored)))?;
        say(&format!("  replayed: {}", shown(&difference.replayed)))?;
    }
    let verdict = if verified.is_right() {
        "right"
    } else {
        "WRONG"
    };
    say(&format!(
        "{} at event {}: {} views, {} differ, {} of them because of events in quarantine: {verdict}",
        verified.generation, verified.floor, verified.views, verified.different, verified.excused
    ))
}
