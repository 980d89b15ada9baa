//! `healthcheck`: one question, answered by an exit code, for containers.

use std::{error::Error, process::ExitCode, time::Duration};

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::{Outcome, remote::Remote, say};
use crate::settings::Settings;

/// Ask a node that runs whether it is healthy: exit code 0 if it is, 1 if not.
#[derive(Args)]
pub(super) struct Healthcheck {
    /// Where it answers; by default what the settings say.
    #[arg(long)]
    url: Option<String>,
    /// Ask whether it is ready, and not only whether it works.
    #[arg(long)]
    ready: bool,
    /// How long it may take, in seconds.
    #[arg(long, default_value_t = 3)]
    within: u64,
}

impl Healthcheck {
    pub(super) async fn run(
        self,
        settings: impl FnOnce() -> Result<Settings, Box<dyn Error>>,
    ) -> Outcome {
        let within = Duration::from_secs(self.within);
        let remote = if let Some(url) = &self.url {
            Remote::at(url, None, within)?
        } else {
            let settings = settings()?;
            Remote::of(&settings.storage_path, &settings, within)?
        };
        let path = if self.ready { "/ready" } else { "/health" };
        let (status, body) = remote.ask(Method::GET, path).await?;
        if status.is_success() {
            return say(if self.ready { "ready" } else { "healthy" });
        }
        for check in body["checks"].as_array().into_iter().flatten() {
            if check["ok"] == false {
                say(&line(check))?;
            }
        }
        Ok(ExitCode::FAILURE)
    }
}

/// A check that is not right, with what to do.
pub(super) fn line(check: &Value) -> String {
    let text = |name: &str| check[name].as_str().unwrap_or_default();
    match text("mend") {
        "" => format!("{}: {}", text("name"), text("says")),
        mend => format!("{}: {}\n  mend: {mend}", text("name"), text("says")),
    }
}
