//! Peers: with whom nodes are connected, observed while a step waits for it.

use std::{collections::BTreeMap, convert::Infallible, fmt::Write as _, sync::Arc, time::Duration};

use async_trait::async_trait;
use trellis_chain::{ChainSource, Peers};
use trellis_observation::{DynError, ObservedSource, Observer, PollFailure, poll_sources};

/// How many nodes are asked at one time.
const AT_ONCE: usize = 16;
/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What each node said of its peers last, or why it did not.
pub(super) type PeersView = Arc<BTreeMap<String, Result<Peers, String>>>;

/// Asks nodes with whom they are connected.
pub(super) struct PeersObserver;

#[async_trait]
impl Observer for PeersObserver {
    type Source = Arc<dyn ChainSource>;
    type State = PeersView;
    type Snapshot = PeersView;
    type Event = Infallible;

    async fn init(&self, _: &[ObservedSource<Self::Source>]) -> Result<PeersView, DynError> {
        Ok(PeersView::default())
    }

    async fn poll(
        &self,
        sources: &[ObservedSource<Self::Source>],
        state: &mut PeersView,
    ) -> Result<Vec<Infallible>, PollFailure<Infallible>> {
        let ask = async |source: Arc<dyn ChainSource>| source.peers().await;
        let polls = poll_sources(sources, AT_ONCE, ANSWER_WITHIN, ask).await;
        let answers = polls.into_iter().map(|poll| {
            let answer = poll.result.map_err(|error| error.to_string());
            (poll.name.clone(), answer)
        });
        *state = Arc::new(answers.collect());
        Ok(Vec::new())
    }

    fn snapshot(&self, state: &PeersView) -> PeersView {
        Arc::clone(state)
    }
}

/// A line a node.
pub(super) fn shown(view: &PeersView) -> String {
    let mut text = String::from("peers:");
    for (name, answer) in &**view {
        match answer {
            Ok(peers) => write!(
                text,
                "\n  {name}: {} ({})",
                peers.count,
                peers.ids.join(", ")
            ),
            Err(why) => write!(text, "\n  {name}: no answer ({why})"),
        }
        .expect("a String takes any text");
    }
    text
}
