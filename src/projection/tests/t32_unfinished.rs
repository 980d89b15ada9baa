//! Events that a machine does not get to the end of: nothing is said about them, and nothing behind them is read before them.

mod accounts;

use std::sync::Arc;

use accounts::{deposit, manifest, run_until, settings, store};
use projection::{
    manifest::{Projection, ProjectionManifest},
    pipeline::{ShardState, ShardStatus},
    program::{Meta, Outcome, Program, ProgramError},
    settings::Durability,
    stream::MemorySource,
    types::{Envelope, ViewId},
};
use serde_json::Value;

/// A program whose machine does not get to the end of any event of one account.
struct Slow {
    program: Arc<dyn Program>,
    account: &'static str,
}

impl Program for Slow {
    fn hash(&self) -> &str {
        self.program.hash()
    }

    fn keys(&self, event: &Envelope, meta: &Meta<'_>) -> Result<Vec<ViewId>, ProgramError> {
        self.program.keys(event, meta)
    }

    fn project(
        &self,
        view: Option<&Value>,
        event: &Envelope,
        meta: &Meta<'_>,
    ) -> Result<Outcome, ProgramError> {
        if event.aggregate_id.as_str() == self.account {
            let what = "it is slow here".to_owned();
            return Err(ProgramError::Unfinished { what });
        }
        self.program.project(view, event, meta)
    }
}

#[tokio::test]
async fn an_event_that_a_machine_does_not_get_past_is_waited_for_and_goes_in_as_soon_as_it_does() {
    let source = MemorySource::default();
    source.publish("ev", deposit("a", 1));
    let slow = source.publish("ev", deposit("b", 1));
    let last = source.publish("ev", deposit("a", 1));
    for (policy, lanes) in [("skip", 1), ("park-key", 3), ("halt", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path(), Durability::Commit);
        let sound = manifest(policy);
        let projections = sound.projections().iter().cloned();
        let projections = projections.map(|projection| Projection {
            program: Arc::new(Slow {
                program: Arc::clone(&projection.program),
                account: "b",
            }),
            ..projection
        });
        let settings = settings(100, lanes);
        let waits = |status: &ShardStatus| {
            matches!(&status.state, ShardState::Waiting { why }
                if why.ends_with("event 2: the program did not finish: it is slow here"))
        };
        let held_up = ProjectionManifest::of(projections.collect());
        let status = run_until(&store, &held_up, &settings, &mut source.clone(), waits).await;
        // What is before it is in, so that whoever drops it drops nothing else.
        let account = &status.projections[&accounts::table("account")];
        assert_eq!((account.floor, &account.blocked), (slow - 1, &None));
        run_until(&store, &sound, &settings, &mut source.clone(), |status| {
            status.has_reached(last)
        })
        .await;
        assert_eq!(accounts::applied(&store), [1, 2, 3]);
    }
}
