//! Report: a look in JSON, with words that scripts can rely on.

use serde_json::{Value, json};
use trellis_chain::{
    Place,
    sync::{LocalState, LocalStatus, NoTarget, Pace, PeerState, PeerStatus, SyncProgress, Verdict},
};

/// One look, as an object.
pub(super) fn look(progress: &SyncProgress) -> Value {
    let verdict = &progress.verdict;
    let locals = verdict.locals.iter().map(|status| {
        let pace = progress.paces.iter().find(|pace| pace.name == status.name);
        local(status, pace)
    });
    let mut line = json!({
        "elapsed_ms": u64::try_from(progress.elapsed.as_millis()).unwrap_or(u64::MAX),
        "verdict": word(&verdict.verdict),
        "target": verdict.target.as_ref().map(place),
        "peers": verdict.peers.iter().map(peer).collect::<Vec<_>>(),
        "locals": locals.collect::<Vec<_>>(),
    });
    match &verdict.verdict {
        Verdict::NoTarget(why) => line["no_target"] = no_target(why),
        Verdict::OtherNetwork { node, its, theirs } => {
            let (its, theirs) = (its.to_string(), theirs.to_string());
            line["other_network"] = json!({"node": &**node, "its": its, "theirs": theirs});
        }
        _ => {}
    }
    line
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Synced => "synced",
        Verdict::Forked => "forked",
        Verdict::NoTarget(_) => "no_target",
        Verdict::OtherNetwork { .. } => "other_network",
        _ => "not_yet",
    }
}

fn place(place: &Place) -> Value {
    json!({"height": place.height, "id": place.id.to_string()})
}

fn no_target(why: &NoTarget) -> Value {
    let mut line = match why {
        NoTarget::NoPeers => json!({"why": "no_peers"}),
        NoTarget::TooFew { usable, needed } => {
            json!({"why": "too_few", "usable": usable, "needed": needed})
        }
        NoTarget::Split { branches, common } => {
            let branches = branches
                .iter()
                .map(|(head, count)| json!({"head": place(head), "peers": count}));
            let branches: Vec<Value> = branches.collect();
            json!({"why": "split", "branches": branches, "common": common.as_ref().map(place)})
        }
        NoTarget::Stalled { at, since } => {
            json!({"why": "stalled", "at": place(at), "since_s": since.as_secs_f64()})
        }
        _ => json!({"why": "gathering"}),
    };
    line["says"] = json!(why.to_string());
    line
}

fn peer(status: &PeerStatus) -> Value {
    let state = match &status.state {
        PeerState::Agrees => "agrees",
        PeerState::Behind { .. } => "behind",
        PeerState::Elsewhere => "elsewhere",
        PeerState::Stalled { .. } => "stalled",
        PeerState::Unreachable { .. } => "unreachable",
        PeerState::Lying { .. } => "lying",
        _ => "undecided",
    };
    let says = status.state.to_string();
    json!({"name": &*status.name, "height": status.height, "state": state, "says": says})
}

fn local(status: &LocalStatus, pace: Option<&Pace>) -> Value {
    let state = match &status.state {
        LocalState::Synced { .. } => "synced",
        LocalState::Ahead { .. } => "ahead",
        LocalState::Behind { .. } => "behind",
        LocalState::Forked { .. } => "forked",
        LocalState::Unreachable { .. } => "unreachable",
        LocalState::NoTarget => "no_target",
        _ => "undecided",
    };
    let time_to_go = pace.and_then(|pace| pace.time_to_go);
    json!({
        "name": &*status.name,
        "height": status.height,
        "state": state,
        "says": status.state.to_string(),
        "behind": pace.and_then(|pace| pace.behind),
        "blocks_per_second": pace.map(|pace| pace.blocks_per_second),
        "time_to_go_s": time_to_go.map(|time| time.as_secs_f64()),
    })
}
