//! `shards`: which node owns which shard, and since when.

use std::{
    process::ExitCode,
    time::{Duration, UNIX_EPOCH},
};

use clap::Args;

use super::{Outcome, node::Node, say};
use crate::lease::{LeaseBoard, NatsBoard, survey};

/// Show which node owns which shard, and since when.
#[derive(Args)]
pub(super) struct Shards {
    /// As one JSON document.
    #[arg(long)]
    json: bool,
}

impl Shards {
    pub(super) async fn run(self, node: &Node) -> Outcome {
        let settings = &node.settings;
        let bucket = settings.leases.as_deref();
        let bucket = bucket.ok_or("leases is not set: one node owns all shards")?;
        let board = NatsBoard::connect(&settings.nats_url, bucket).await?;
        let owners = survey(settings.shards, &board.read().await?);
        if self.json {
            return say(&serde_json::to_string_pretty(&owners)?);
        }
        for shard in settings.layout()?.ids() {
            let Some(owner) = owners.get(&shard) else {
                say(&format!("{shard}: nobody"))?;
                continue;
            };
            let since = UNIX_EPOCH + Duration::from_millis(owner.since_ms);
            say(&format!(
                "{shard}: {} at {} since {}, owner {}",
                owner.member.node,
                owner.member.address.as_deref().unwrap_or("-"),
                humantime::format_rfc3339_seconds(since),
                owner.epoch
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
