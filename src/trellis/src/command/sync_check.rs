//! `trellis sync-check`: whether nodes follow a public chain, for people and scripts.
//!
//! What is judged, and how, is in `trellis_chain::sync`; here are the call, the wait, and the exit code.

mod report;
mod screen;
mod sources;

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use clap::Args;
use tokio::time::Instant;
use trellis_chain::{
    ChainSource,
    sync::{NoTarget, SyncCheck, SyncReport, Verdict},
};

use self::{
    screen::Screen,
    sources::{Nodes, SourceArguments, Wire},
};
use super::{
    exit::{COULD_NOT, Failure, INTERRUPTED, NO_TARGET, OTHER_NETWORK},
    signals::Signals,
    up::block_on,
};

/// Time for one look when finding out the wires took all the time there was, so that it can be said who does not answer and why.
const LAST_LOOK: Duration = Duration::from_secs(2);
/// How long the peers may be still on a wire whose blocks are frequent.
const STALL_AFTER: Duration = Duration::from_mins(1);

/// Waits until local nodes follow the chain that a majority of public peers has.
///
/// The majority is of all peers that are given, reachable or not, and they agree by ancestry: a peer that is a block ahead agrees, one that cannot be reached agrees with nothing. The nodes are synced when all of them are on that chain in one look, at most the lag behind. Users and passwords are given in variables, never here.
///
/// Exit code: 0 synced; 1 not synced in time, or on a branch that leaves the chain; 2 the call is wrong; 3 there was nothing to follow: too few peers can be reached and believed, they are split, or they stall; 4 a node is on another network, which is said at once; 130 interrupted.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sources: SourceArguments,
    /// How long to wait at most.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    within: Duration,
    /// How many blocks a node may be behind.
    #[arg(long, value_name = "BLOCKS", default_value_t = 2)]
    lag: u64,
    /// How long a majority of the peers may have no new block until they are said to stall [default: 1m on Logos, no limit on Bitcoin, whose blocks are rare]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    stall_after: Option<Duration>,
    /// How often to look, in milliseconds.
    #[arg(long, value_name = "MS", default_value = "1000")]
    every_ms: NonZeroU64,
    /// Writes a line of JSON for each look, and a last one with the verdict.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(said: &Arguments) -> Result<(), Failure> {
    let nodes = said.sources.nodes()?;
    let mut screen = Screen::new(said.json);
    let report = block_on(async {
        let mut signals = Signals::take().map_err(|error| Failure::because_of(&error))?;
        tokio::select! {
            report = said.check(&nodes, &mut screen) => report.map(Some),
            () = signals.next() => Ok(None),
        }
    })??;
    let Some(report) = report else {
        screen.interrupted(INTERRUPTED);
        return Err(Failure::interrupted(
            "interrupted before there was a verdict",
        ));
    };
    let code = exit_code(&report.verdict.verdict);
    screen.done(&report, code);
    match code {
        0 => Ok(()),
        code => Err(Failure::of(code, in_words(&report, said.within))),
    }
}

impl Arguments {
    /// # Cancel safety
    /// Dropping it ends the observation.
    async fn check(&self, nodes: &Nodes, screen: &mut Screen) -> Result<SyncReport, Failure> {
        let deadline = Instant::now() + self.within;
        let wires = nodes.wires(deadline, |seen| screen.waiting(seen)).await;
        let (local, public) = nodes.sources(&wires)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let mut check = SyncCheck::new(local, public, left.max(LAST_LOOK));
        check.interval = Duration::from_millis(self.every_ms.get());
        check.spec.lag_max = self.lag;
        let is_bitcoin = wires.contains(&Wire::Bitcoin);
        let usual = (!is_bitcoin).then_some(STALL_AFTER);
        check.spec.stall_after = self.stall_after.or(usual);
        Ok(check.run(|progress| screen.look(progress)).await)
    }
}

/// The nodes that shall follow, and the public peers.
type Sources = (Vec<Arc<dyn ChainSource>>, Vec<Arc<dyn ChainSource>>);

fn exit_code(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Synced => 0,
        Verdict::NoTarget(_) => NO_TARGET,
        Verdict::OtherNetwork { .. } => OTHER_NETWORK,
        _ => COULD_NOT,
    }
}

fn in_words(report: &SyncReport, within: Duration) -> String {
    let verdict = &report.verdict;
    if !report.timed_out {
        return verdict.to_string();
    }
    let within = humantime::format_duration(within);
    let hint = match &verdict.verdict {
        Verdict::NoTarget(NoTarget::TooFew { .. }) => {
            "; see that the peers can be reached from here, or give others"
        }
        Verdict::NoTarget(NoTarget::Split { .. }) => {
            "; wait until the peers agree, or give those that you trust"
        }
        _ => "",
    };
    format!("not synced within {within}: {verdict}{hint}")
}
