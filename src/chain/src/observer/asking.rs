//! Asking: one question, put to the nodes one after the other until one of them has the answer.
//!
//! A node that takes its time is not waited for: after a head start the next one is asked as well,
//! and the first answer counts.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::timeout;

use super::look::{Asked, NoAnswer};

/// What came of a question.
pub(super) struct Outcome<T> {
    /// The answer, and whose it is.
    pub(super) answer: Option<(Arc<str>, T)>,
    /// How many nodes said that they have none.
    pub(super) without: usize,
    /// Who did not answer, or not in time.
    pub(super) silent: BTreeSet<Arc<str>>,
}

/// Puts a question to `nodes`, in their order.
///
/// # Cancel safety
/// Dropping it drops the requests.
pub(super) async fn first_of<T, Fut>(
    nodes: Vec<Asked>,
    head_start: Duration,
    ask: impl Fn(Asked) -> Fut,
) -> Outcome<T>
where
    Fut: Future<Output = Result<Option<T>, NoAnswer>>,
{
    let mut outcome = Outcome {
        answer: None,
        without: 0,
        silent: BTreeSet::new(),
    };
    let mut waiting = nodes.into_iter();
    let mut under_way = FuturesUnordered::new();
    loop {
        if let Some(node) = waiting.next() {
            let name = Arc::clone(&node.name);
            outcome.silent.insert(Arc::clone(&name));
            let answer = ask(node);
            under_way.push(async move { (name, answer.await) });
        }
        let patience = if waiting.len() == 0 {
            Duration::MAX
        } else {
            head_start
        };
        match timeout(patience, under_way.next()).await {
            Err(_elapsed) => {}
            Ok(None) => return outcome,
            Ok(Some((name, Ok(answer)))) => {
                outcome.silent.remove(&name);
                if let Some(answer) = answer {
                    outcome.answer = Some((name, answer));
                    return outcome;
                }
                outcome.without += 1;
            }
            Ok(Some((_, Err(NoAnswer)))) => {}
        }
    }
}
