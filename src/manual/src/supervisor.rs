//! The supervisor: brings a cluster up, keeps it until somebody wants it to end, and ends it.
//!
//! It owns the cluster: what is started is in its run ledger, and it answers at the control socket. Features that attach to the cluster borrow its nodes.

use std::{
    fs, io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::future::join_all;
use tokio::{net::UnixListener, sync::watch, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use trellis_bootstrap::{
    Application, AttachProvider, BootstrapError, BootstrapRequest, ClusterRequest, Deployer,
    LedgerError, Progress, Resource, RunLedger, in_one_line,
};
use trellis_domain::{NodeName, Ownership, RunId, ScenarioSpec};
use trellis_report::inventory_table;
use trellis_runtime::{CfgsyncDelivery, Cluster, Journal};

use crate::{
    ClusterName, Companion, Released, Supervision, SupervisorId, UpError,
    desk::{Desk, Stage},
    events,
    place::{Claim, ClaimError, Place},
    server::{Farewells, serve},
};

/// How long clients may take to take their last answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// What a supervisor needs to know.
pub struct UpRequest {
    /// What the cluster is called.
    pub name: ClusterName,
    /// The file that it is made from, for people.
    pub spec_file: String,
    /// What it is to be.
    pub spec: ScenarioSpec,
    /// The application of its nodes.
    pub app: Arc<dyn Application>,
    /// The backend for the nodes to start.
    pub deployer: Arc<dyn Deployer>,
    /// What finds the nodes of clusters that run already.
    pub attach: Vec<Arc<dyn AttachProvider>>,
    /// The folder in which what is owned is written down.
    pub state: PathBuf,
    /// Who is told what happens.
    pub progress: Arc<dyn Progress>,
    /// Ends the cluster, also while it is being brought up.
    pub end: CancellationToken,
    /// Who goes along with it while it is up.
    pub companions: Vec<Arc<dyn Companion>>,
}

/// A cluster that was ended. Those who wait for that see it when this is dropped, so it is kept until all is said.
#[must_use]
pub struct Ended {
    /// What became of its nodes.
    pub released: Released,
    /// Whether it was ended before it was ready.
    pub interrupted: bool,
    _farewells: Arc<Farewells>,
}

/// Brings a cluster up and keeps it until its end is wanted.
///
/// # Errors
/// A cluster that did not come up; nothing is left of it then but what the error names.
pub async fn up(request: UpRequest) -> Result<Ended, UpError> {
    let supervisor = SupervisorId {
        run: run_id(&request.name),
        pid: std::process::id(),
    };
    let place = Place::of(&request.state, &request.name);
    let before = place.supervision()?;
    let claim = claim(place, &request.name, &supervisor)?;
    if let Supervision::Dead(_) = before {
        request.progress.note(&format!(
            "an earlier supervisor of {} was killed; `trellis clean` removes what it left",
            request.name
        ));
    }
    let ledger = RunLedger::open(&request.state, supervisor.run.clone());
    let kept = match ledger {
        Ok(ledger) => keep(&request, &claim, supervisor, &Arc::new(ledger)).await,
        Err(error) => Err(error.into()),
    };
    let released = claim.release();
    let ended = kept?;
    released?;
    Ok(ended)
}

fn claim(place: Place, name: &ClusterName, supervisor: &SupervisorId) -> Result<Claim, UpError> {
    Claim::take(place, supervisor).map_err(|error| match error {
        ClaimError::Taken(supervisor) => UpError::AlreadyUp {
            name: name.clone(),
            supervisor,
        },
        ClaimError::Place(error) => error.into(),
    })
}

/// Unlike that of any other run of this machine.
fn run_id(name: &ClusterName) -> RunId {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = now.unwrap_or_default().as_millis();
    let id = format!("up-{name}-{millis}-{}", std::process::id());
    id.parse()
        .expect("a cluster name and two numbers make a run id")
}

/// From the claim to the release.
async fn keep(
    request: &UpRequest,
    claim: &Claim,
    supervisor: SupervisorId,
    ledger: &Arc<RunLedger>,
) -> Result<Ended, UpError> {
    let desk = Arc::new(Desk {
        name: request.name.clone(),
        supervisor,
        spec: request.spec_file.clone(),
        app: request.spec.app.clone(),
        begun: Instant::now(),
        stage: watch::Sender::new(Stage::Starting),
        released: watch::Sender::new(None),
        end: request.end.clone(),
        progress: Arc::clone(&request.progress),
    });
    let listener = claim.listen()?;
    let listener = UnixListener::from_std(listener).map_err(|error| broken(&error))?;
    let (farewells, tracker) = (Arc::<Farewells>::default(), TaskTracker::new());
    let serving = serve(
        listener,
        Arc::clone(&desk),
        Arc::clone(&farewells),
        tracker.clone(),
    );
    let result = tokio::select! {
        result = live(request, claim.place(), ledger, &desk) => result,
        () = serving => unreachable!("it serves for as long as it is asked to"),
    };
    let closed = ledger.close();
    let mut released = match &result {
        Ok((released, _)) => released.clone(),
        Err(_) => Released::default(),
    };
    released.left = released.left.or_else(|| left_behind(&closed));
    desk.released.send_replace(Some(released.clone()));
    tracker.close();
    // A client that takes nothing must not keep us here.
    let _ = timeout(ANSWERED_WITHIN, tracker.wait()).await;
    if let (Err(_), Some(left)) = (&result, &released.left) {
        request.progress.note(left);
    }
    // Why it did not come up says more than what cannot be said of its leftovers.
    let (_, interrupted) = result?;
    Ok(Ended {
        released,
        interrupted,
        _farewells: farewells,
    })
}

/// What the ledger still lists after all was released, in words; nothing when it is empty.
fn left_behind(closed: &Result<Vec<Resource>, LedgerError>) -> Option<String> {
    let left = match closed {
        Ok(left) if left.is_empty() => return None,
        Ok(left) => left,
        Err(error) => return Some(in_one_line(error)),
    };
    let left: Vec<String> = left
        .iter()
        .map(|resource| format!("{} {} ({})", resource.kind, resource.id, resource.backend))
        .collect();
    Some(format!(
        "left behind: {}; `trellis clean` removes it",
        left.join(", ")
    ))
}

fn broken(error: &io::Error) -> UpError {
    UpError::Broken(error.to_string())
}

/// Brings the cluster up, keeps it and releases it. Gives what became of its nodes, and whether it was ended before it was ready.
async fn live(
    request: &UpRequest,
    place: &Place,
    ledger: &Arc<RunLedger>,
    desk: &Desk,
) -> Result<(Released, bool), UpError> {
    let Some(cluster) = boot(request, place, ledger).await? else {
        desk.stage.send_replace(Stage::Ending(None));
        return Ok((Released::default(), true));
    };
    desk.stage.send_replace(Stage::Running(cluster.clone()));
    announce(request, &cluster);
    let told = events::narrate(cluster.clone(), Arc::clone(&request.progress));
    cluster.tasks().spawn("events", told);
    let looking = events::look_at_borrowed(cluster.clone(), Arc::clone(&request.progress));
    cluster.tasks().spawn("look at borrowed nodes", looking);
    join_all(request.companions.iter().map(|one| one.begin(&cluster))).await;
    request.end.cancelled().await;
    desk.stage
        .send_replace(Stage::Ending(Some(cluster.clone())));
    // While the nodes are as they are: what a companion has seen until now is not their end.
    join_all(request.companions.iter().map(|one| one.end())).await;
    Ok((release(&cluster).await, false))
}

/// Brings the cluster up; none if it was ended before it was ready.
async fn boot(
    request: &UpRequest,
    place: &Place,
    ledger: &Arc<RunLedger>,
) -> Result<Option<Cluster>, UpError> {
    let kept = place.kept();
    match fs::remove_dir_all(&kept) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(broken(&error)),
        _ => {}
    }
    let boot = BootstrapRequest {
        spec: request.spec.clone(),
        app: Arc::clone(&request.app),
        deployer: Arc::clone(&request.deployer),
        delivery: Arc::new(CfgsyncDelivery),
        attach: request.attach.clone(),
        cluster: ClusterRequest {
            network: ledger.run().to_string(),
            folder: place.folder().join(ledger.run().as_str()),
            ledger: Arc::clone(ledger),
        },
        planned: Vec::new(),
        keep_on_failure: Some(kept.clone()),
        progress: Arc::clone(&request.progress),
        cancel: request.end.clone(),
    };
    // On a task of its own, so that a panic in an application is an error and what it started is released.
    let booting = tokio::spawn(Cluster::boot(boot, Journal::default()));
    match booting.await {
        Err(panic) => Err(UpError::Broken(panic.to_string())),
        Ok(Ok(cluster)) => Ok(Some(cluster)),
        Ok(Err(BootstrapError::Cancelled(_))) => Ok(None),
        Ok(Err(source)) => Err(UpError::Bootstrap {
            name: request.name.clone(),
            kept: kept.exists().then_some(kept),
            source: Box::new(source),
        }),
    }
}

fn announce(request: &UpRequest, cluster: &Cluster) {
    let table = inventory_table(&cluster.inventory().snapshot());
    for missing in cluster.missing() {
        request.progress.note(&format!("not found: {missing}"));
    }
    for unknown in cluster.unknown() {
        request.progress.note(&format!("not known: {unknown}"));
    }
    request
        .progress
        .note(&format!("{} is up\n{table}", request.name));
}

async fn release(cluster: &Cluster) -> Released {
    let nodes = cluster.inventory().snapshot();
    let names = |wanted: Ownership| -> Vec<NodeName> {
        nodes
            .nodes()
            .filter(|node| node.ownership == wanted)
            .map(|node| node.name().clone())
            .collect()
    };
    Released {
        ended: names(Ownership::Owned),
        untouched: names(Ownership::Borrowed),
        left: cluster
            .release()
            .await
            .err()
            .map(|error| in_one_line(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_ledger_still_lists_is_told_and_an_empty_one_is_not() {
        let state = tempfile::tempdir().unwrap();
        let ledger = RunLedger::open(state.path(), "up-demo-1".parse().unwrap()).unwrap();
        let resource = Resource {
            backend: "local".to_owned(),
            kind: "folder".to_owned(),
            id: "/srv/demo".to_owned(),
        };
        ledger.own(&resource).unwrap();
        assert_eq!(
            left_behind(&ledger.close()).unwrap(),
            "left behind: folder /srv/demo (local); `trellis clean` removes it"
        );
        ledger.removed(&resource).unwrap();
        assert_eq!(left_behind(&ledger.close()), None);
        // It is closed already.
        let unreadable = left_behind(&ledger.close()).unwrap();
        assert!(unreadable.starts_with("cannot read"), "{unreadable}");
    }
}
