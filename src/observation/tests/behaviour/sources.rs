//! Sources that come and go, and the health of each.

use std::{future::pending, time::Duration};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use trellis_observation::{
    DynError, ObservationRuntime, ObservedSource, Observer, PollFailure, SourceHealth,
    SourcePollError, StaticSources, poll_sources,
};

use crate::support::{ChangingSources, INTERVAL, LONG, POLL_TIMEOUT, Scripted, chain, config};

#[tokio::test(start_paused = true)]
async fn sources_that_join_and_leave_show_in_the_next_cycle() {
    let sources = ChangingSources::default();
    let (_runtime, handle) = Scripted::quiet().start_with(sources.clone(), config());
    let none = handle.wait_until(LONG, |_| true).await.unwrap();
    assert!(none.sources.is_empty(), "no source at the start is a state");
    assert!(handle.status().is_running());

    sources.become_names(&["NODE_1", "NODE_2"]);
    assert_eq!(
        handle.refresh().await.unwrap().sources,
        ["NODE_1", "NODE_2"]
    );
    sources.become_names(&["NODE_2", "NODE_3"]);
    let last = handle.refresh().await.unwrap();

    assert_eq!(last.sources, ["NODE_2", "NODE_3"]);
    assert_eq!(last.inits, 1, "the state goes on");
    let names = |health: Vec<SourceHealth>| health.into_iter().map(|health| health.name);
    assert!(names(handle.sources_health()).eq(["NODE_2", "NODE_3"]));
}

#[tokio::test(start_paused = true)]
async fn a_list_of_sources_that_cannot_be_had_skips_the_cycle_and_keeps_the_snapshot() {
    let sources = ChangingSources::default();
    sources.become_names(&["NODE_1"]);
    let observer = Scripted::quiet();
    let (_runtime, handle) = observer.start_with(sources.clone(), config());
    handle.wait_until(LONG, |_| true).await.unwrap();

    let mut errors = Vec::new();
    for trouble in [
        ChangingSources::become_error,
        ChangingSources::become_panic,
        ChangingSources::become_hang,
    ] {
        trouble(&sources);
        let error = handle.refresh().await.unwrap_err();
        assert_eq!(error.last.unwrap().version, 1);
        errors.push(chain(error.failure.unwrap().as_ref()));
    }
    assert_eq!(
        errors[0],
        "the listing of sources failed: the cluster's API is away"
    );
    assert_eq!(
        errors[1],
        "the listing of sources panicked: the listing fell over"
    );
    assert_eq!(errors[2], "the listing of sources did not end within 1s");

    sources.become_names(&["NODE_1"]);
    let back = handle.refresh().await.unwrap();
    assert_eq!((back.polls, back.inits), (2, 1));
    assert!(handle.status().is_running());
}

/// What a node does when it is asked.
#[derive(Clone, Copy)]
enum Node {
    AnswerAfter(Duration),
    Refuse,
    Hang,
    Panic,
}

impl Node {
    async fn ask(self) -> Result<u32, std::io::Error> {
        match self {
            Self::AnswerAfter(time) => sleep(time).await,
            Self::Refuse => return Err(std::io::ErrorKind::ConnectionRefused.into()),
            Self::Hang => pending().await,
            Self::Panic => panic!("bad answer"),
        }
        Ok(7)
    }
}

const QUICK: Node = Node::AnswerAfter(Duration::from_millis(10));

fn nodes(nodes: &[(&str, Node)]) -> Vec<ObservedSource<Node>> {
    let named = |(name, node): &(&str, Node)| ObservedSource::new(*name, *node);
    nodes.iter().map(named).collect()
}

#[tokio::test(start_paused = true)]
async fn one_slow_source_costs_its_own_freshness_and_not_the_poll() {
    let slow = Node::AnswerAfter(Duration::from_secs(9));
    let sources = nodes(&[("slow", slow), ("quick", QUICK), ("refusing", Node::Refuse)]);
    let began = Instant::now();

    let polls = poll_sources(&sources, 8, Duration::from_secs(1), Node::ask).await;

    assert_eq!(began.elapsed(), Duration::from_secs(1));
    let names: Vec<_> = polls.iter().map(|poll| poll.name.as_str()).collect();
    assert_eq!(
        names,
        ["slow", "quick", "refusing"],
        "in the order of the sources"
    );
    assert!(matches!(
        polls[0].result,
        Err(SourcePollError::TimedOut { .. })
    ));
    assert_eq!(*polls[1].result.as_ref().unwrap(), 7);
    assert_eq!(polls[1].latency, Duration::from_millis(10));
    let refused = polls[2].result.as_ref().unwrap_err();
    assert_eq!(chain(refused), "it could not be asked: connection refused");
}

#[tokio::test(start_paused = true)]
async fn no_more_sources_are_asked_at_a_time_than_the_limit() {
    let sources = nodes(&[
        ("a", QUICK),
        ("b", QUICK),
        ("c", QUICK),
        ("d", QUICK),
        ("e", QUICK),
    ]);
    let began = Instant::now();

    let polls = poll_sources(&sources, 2, Duration::from_millis(15), Node::ask).await;

    assert_eq!(began.elapsed(), Duration::from_millis(30));
    assert!(
        polls.iter().all(|poll| poll.result.is_ok()),
        "each has its own time"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_asking_is_the_failure_of_that_source_alone() {
    let sources = nodes(&[("broken", Node::Panic), ("quick", QUICK)]);

    let polls = poll_sources(&sources, 8, Duration::from_secs(1), Node::ask).await;

    let broken = polls[0].result.as_ref().unwrap_err();
    assert_eq!(broken.to_string(), "asking it panicked: bad answer");
    assert!(polls[1].result.is_ok());
}

/// Asks all its nodes, each with a time that may be longer than the poll's.
struct Asking {
    within: Duration,
}

#[async_trait]
impl Observer for Asking {
    type Source = Node;
    type State = ();
    type Snapshot = ();
    type Event = ();

    async fn init(&self, _: &[ObservedSource<Node>]) -> Result<(), DynError> {
        Ok(())
    }

    async fn poll(
        &self,
        sources: &[ObservedSource<Node>],
        (): &mut (),
    ) -> Result<Vec<()>, PollFailure<()>> {
        let shared = &self.within;
        poll_sources(sources, 8, *shared, async |node| node.ask().await).await;
        Ok(Vec::new())
    }

    fn snapshot(&self, (): &()) {}
}

#[tokio::test(start_paused = true)]
async fn the_handle_tells_how_each_source_did() {
    let began = Instant::now();
    let within = Duration::from_millis(50);
    let sources = StaticSources::new(nodes(&[("quick", QUICK), ("away", Node::Refuse)]));
    let runtime = ObservationRuntime::start(Asking { within }, sources, config());
    let handle = runtime.handle();
    assert!(handle.sources_health().is_empty());

    handle.wait_until(LONG, |()| true).await.unwrap();
    handle.refresh().await.unwrap();
    let health = handle.sources_health();

    assert_eq!(health[0].name, "quick");
    assert_eq!(health[0].latency, Some(Duration::from_millis(10)));
    assert_eq!(
        health[0].last_ok.unwrap() - began,
        Duration::from_millis(20)
    );
    assert!(health[0].last_error.is_none() && !health[0].is_failing());
    assert_eq!(
        (health[1].consecutive_failures, health[1].last_ok),
        (2, None)
    );
    let error = health[1].last_error.as_ref().unwrap();
    assert_eq!(error.message, "it could not be asked: connection refused");
}

#[tokio::test(start_paused = true)]
async fn health_stays_right_when_the_poll_as_a_whole_is_dropped() {
    let within = 10 * POLL_TIMEOUT;
    let sources = StaticSources::new(nodes(&[("quick", QUICK), ("hanging", Node::Hang)]));
    let runtime = ObservationRuntime::start(Asking { within }, sources, config());
    let handle = runtime.handle();

    sleep(POLL_TIMEOUT + INTERVAL / 20).await;
    let health = handle.sources_health();

    assert!(handle.status().is_failing());
    assert!(health[0].last_ok.is_some() && health[0].last_error.is_none());
    let error = health[1].last_error.as_ref().unwrap();
    assert_eq!(error.message, "the poll ended before an answer came");
    assert_eq!(error.after, POLL_TIMEOUT);
}
