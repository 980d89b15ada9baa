//! The sink: follows an observation from its beginning, and publishes what its recording makes of it.
//!
//! It holds back nothing of its own. While the server is away it does not read on, so that what waits is the observation's history, which is bounded; what that drops is put on record as a gap.

use std::pin::Pin;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use trellis_bootstrap::SharedInventory;
use trellis_domain::{NodeHandle, RunId};
use trellis_observation::{
    Backlog, Cursor, ObservationConfig, ObservationHandle, ObservationRuntime, Observer,
    SourceProvider,
};
use trellis_runtime::NodeSources;

use crate::{
    Delta, Fact, Recording, Subject,
    publisher::{Clock, Publisher},
};

/// What a sink needs to know.
#[derive(Clone)]
pub(crate) struct Outlet {
    pub(crate) run: RunId,
    pub(crate) publisher: std::sync::Arc<Publisher>,
    pub(crate) clock: Clock,
    /// Publish what there is, and end.
    pub(crate) stop: CancellationToken,
}

type Following = Pin<Box<dyn Future<Output = ()> + Send>>;

/// An observation that is to be put on record, once there is a record.
pub struct Watched {
    name: &'static str,
    begin: Box<dyn FnOnce(Outlet) -> Following + Send>,
}

impl Watched {
    /// Observes the running nodes of `inventory`, through clients that `client` makes.
    pub fn nodes<R, F>(
        recording: R,
        observer: R::Observer,
        inventory: SharedInventory,
        client: F,
        config: ObservationConfig,
        name: &'static str,
    ) -> Self
    where
        R: Recording,
        F: Fn(&NodeHandle) -> Option<<R::Observer as Observer>::Source> + Send + Sync + 'static,
    {
        let sources = NodeSources::new(inventory, client);
        Self::new(name, recording, observer, sources, config)
    }

    /// Observes `sources`. `name` is that of the observation on record, unlike that of any other of the run.
    pub fn new<R: Recording>(
        name: &'static str,
        recording: R,
        observer: R::Observer,
        sources: impl SourceProvider<<R::Observer as Observer>::Source>,
        config: ObservationConfig,
    ) -> Self {
        let begin = move |outlet: Outlet| -> Following {
            let runtime = ObservationRuntime::start(observer, sources, config.with_name(name));
            Box::pin(async move {
                follow(name, runtime.handle(), recording, &outlet).await;
                runtime.shutdown().await;
            })
        };
        Self {
            name,
            begin: Box::new(begin),
        }
    }

    /// What it is called on record.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Begins to observe, and gives what puts it on record until it is told to stop.
    pub(crate) fn begin(self, outlet: Outlet) -> Following {
        (self.begin)(outlet)
    }
}

/// Publishes what `handle` tells, from its beginning on, until the observation ends or the outlet is told to stop.
///
/// # Cancel safety
/// Dropping it leaves it open whether the last facts are stored.
pub(crate) async fn follow<R: Recording>(
    name: &str,
    handle: ObservationHandle<R::Observer>,
    mut recording: R,
    outlet: &Outlet,
) {
    let mut cursor = Cursor::START;
    loop {
        let (backlog, is_last) = tokio::select! {
            backlog = handle.next_after(cursor) => (backlog, false),
            () = outlet.stop.cancelled() => (Some(handle.events_since(cursor)), true),
        };
        let Some(backlog) = backlog else {
            return;
        };
        cursor = backlog.next;
        publish(name, &handle, &mut recording, outlet, backlog).await;
        if is_last {
            return;
        }
    }
}

async fn publish<R: Recording>(
    name: &str,
    handle: &ObservationHandle<R::Observer>,
    recording: &mut R,
    outlet: &Outlet,
    backlog: Backlog<<R::Observer as Observer>::Event>,
) {
    let (dropped, end) = (backlog.dropped, backlog.next);
    if dropped > 0 {
        let details = json!({ "observation": name, "dropped": dropped });
        let run = outlet.run.as_str();
        let gap = Fact::new(
            Subject::Record,
            run,
            "RecordGap",
            outlet.clock.now(),
            details,
        );
        let id = format!("{name}/gap-{end}");
        outlet.publisher.publish(&id, &gap).await;
    }
    for batch in &backlog.batches {
        let facts = recording.record(&Delta {
            at: outlet.clock.time_of(batch.at()),
            cycle: batch.cycle(),
            events: batch.events(),
        });
        for (index, fact) in facts.iter().enumerate() {
            let id = format!("{name}/{}/{index}", batch.cycle());
            outlet.publisher.publish(&id, fact).await;
        }
    }
    if dropped == 0 {
        return;
    }
    // Last, because the snapshot is newer than all of them.
    if let Some(latest) = handle.latest() {
        let facts = recording.after_gap(outlet.clock.now(), &latest.snapshot);
        for (index, fact) in facts.iter().enumerate() {
            let id = format!("{name}/after-gap-{end}/{index}");
            outlet.publisher.publish(&id, fact).await;
        }
    }
}
