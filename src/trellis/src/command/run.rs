//! `trellis run`: keeps a cluster for as long as is wanted, and a record of what happens to it.
//!
//! Bringing it up and ending it is `up`'s. Without the cargo feature `record` there are no records, and only the time is different from `trellis up`.

#[cfg(feature = "record")]
mod record;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use clap::Args;
use tokio_util::sync::CancellationToken;
use trellis_manual::{ClusterName, Companion};
use trellis_runtime::Cluster;

use super::{
    StateArguments, Trellis,
    console::Console,
    exit::Failure,
    signals::Signals,
    up::{block_on, keep, request},
};

/// Brings a cluster up and keeps it until Ctrl-C, `trellis down`, or for a time; with --record, what observers see of it is kept.
///
/// A record is asked by `trellis history`, while the run goes on and afterwards. It needs a NATS server: one of its own is started, unless the address of another is given.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The file that says what to bring up.
    spec: Option<PathBuf>,
    /// What to call the cluster [default: as the file says, else the name of the file]
    #[arg(long, value_name = "NAME", requires = "spec")]
    name: Option<ClusterName>,
    /// How long to keep it, from when it is up; such as 90s or 2h.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    keep_for: Option<Duration>,
    #[cfg(feature = "record")]
    #[command(flatten)]
    record: record::RecordArguments,
    /// Writes nothing but errors.
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) fn run(
    trellis: Trellis,
    place: &StateArguments,
    said: &Arguments,
) -> Result<(), Failure> {
    let console = Arc::new(Console::new(said.quiet));
    let end = CancellationToken::new();
    let timer = Arc::new(Timer {
        keep_for: said.keep_for,
        end: end.clone(),
        console: Arc::clone(&console),
    });
    #[cfg(feature = "record")]
    if let Some(how) = said.record.how() {
        return how.run(trellis, place, said, timer);
    }
    let Some(spec) = &said.spec else {
        return Err(Failure::wrong(NOTHING));
    };
    let mut request = request(trellis, place, spec, said.name.as_ref(), &console)?;
    request.end = end.clone();
    request.companions.push(timer);
    block_on(async {
        let signals = Signals::take().map_err(|error| Failure::because_of(&error))?;
        tokio::spawn(signals.answer(end, Arc::clone(&console)));
        keep(request, &console).await
    })?
}

const NOTHING: &str =
    "say what to run: a file such as demo.toml, or --cluster NAME --record for one that is up";

/// Ends a cluster when its time is over.
struct Timer {
    keep_for: Option<Duration>,
    end: CancellationToken,
    console: Arc<Console>,
}

impl Timer {
    /// Returns when the time is over, and never where there is none.
    ///
    /// # Cancel safety
    /// Dropping it loses the time that has passed.
    async fn over(&self) {
        match self.keep_for {
            Some(keep_for) => tokio::time::sleep(keep_for).await,
            None => std::future::pending().await,
        }
        self.console.say(&format!("{} are over", self.told()));
    }

    fn told(&self) -> String {
        humantime::format_duration(self.keep_for.unwrap_or_default()).to_string()
    }
}

#[async_trait]
impl Companion for Timer {
    async fn begin(&self, cluster: &Cluster) {
        let timer = Self {
            keep_for: self.keep_for,
            end: self.end.clone(),
            console: Arc::clone(&self.console),
        };
        cluster.tasks().spawn("time", async move {
            timer.over().await;
            timer.end.cancel();
        });
    }

    async fn end(&self) {}
}
