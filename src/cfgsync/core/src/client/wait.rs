//! Waiting: until the configuration is there, whatever happens to the server in the meantime.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::info;

use super::{
    CfgsyncClient, ConfigStatus,
    backoff::{Backoff, jittered},
    error::ClientError,
    http::Answer,
    progress::{WaitProgress, WaitState},
    supported,
};
use crate::{NodeArtifactsPayload, NodeRegistration};

/// After this many refusals in a row, each right after a registration that was accepted, the node is unknown. One could be a server that restarted in between.
const UNKNOWN_MAX: u32 = 2;
/// What a plain server, which does not hold requests, is given at most between two questions.
const POLL_MAX: Duration = Duration::from_secs(2);
/// A server that says it held a request and answers sooner is about to end, or does not keep its word.
const HELD_MIN: Duration = Duration::from_millis(200);

impl CfgsyncClient {
    /// Registers the node and waits until its configuration is ready, for `within` at most.
    ///
    /// The server may come up later than the node, and it may restart and forget who had registered: the node registers again before each question.
    ///
    /// # Errors
    /// [`ClientError::TimedOut`] with what was waited for last. Earlier, where waiting longer would not help: [`ClientError::UnknownNode`] when the server refuses the registration of this node or, twice in a row, has no configuration for it although it took the registration; [`ClientError::Refused`], such as for a wrong token; [`ClientError::Schema`]; [`ClientError::Foreign`].
    ///
    /// # Cancel safety
    /// Dropping loses nothing; the node may be registered.
    pub async fn wait_for_node_config(
        &self,
        registration: &NodeRegistration,
        within: Duration,
    ) -> Result<NodeArtifactsPayload, ClientError> {
        let started = Instant::now();
        let mut wait = Wait {
            client: self,
            registration,
            started,
            // Far enough for whoever gave more than a clock can count.
            deadline: started.checked_add(within).unwrap_or(started + FAR),
            state: WaitState::Asking,
        };
        match timeout_at(wait.deadline, wait.run()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ClientError::TimedOut {
                identifier: registration.identifier.clone(),
                within,
                last: wait.state,
            }),
        }
    }
}

const FAR: Duration = Duration::from_hours(24 * 365);

/// One wait, while it lasts.
struct Wait<'a> {
    client: &'a CfgsyncClient,
    registration: &'a NodeRegistration,
    started: Instant,
    deadline: Instant,
    state: WaitState,
}

impl Wait<'_> {
    async fn run(&mut self) -> Result<NodeArtifactsPayload, ClientError> {
        let mut backoff = Backoff::new();
        let mut unknown = 0;
        loop {
            let asked = Instant::now();
            let Answer {
                status,
                held,
                retry_after,
            } = match self.ask().await {
                Ok(answer) => answer,
                Err(error) => {
                    self.now(WaitState::of(error)?);
                    unknown = 0;
                    sleep(backoff.pause()).await;
                    continue;
                }
            };
            match supported(status)? {
                ConfigStatus::Ready(payload) => return Ok(payload),
                ConfigStatus::NotReady { message } => {
                    unknown = 0;
                    let was_known = self.state.is_known();
                    self.now(WaitState::NotReady { message });
                    if !was_known {
                        // Now that it is known what for, the next question is to be held.
                    } else if !held {
                        let pause = retry_after.unwrap_or(POLL_MAX).min(POLL_MAX);
                        sleep(jittered(pause)).await;
                    } else if asked.elapsed() < HELD_MIN {
                        sleep(backoff.pause()).await;
                    } else {
                        backoff.reset();
                    }
                }
                ConfigStatus::Missing { message } => {
                    unknown += 1;
                    if unknown == UNKNOWN_MAX {
                        return Err(ClientError::UnknownNode {
                            identifier: self.registration.identifier.clone(),
                            message,
                        });
                    }
                    self.now(WaitState::Unknown { message });
                    sleep(backoff.pause()).await;
                }
            }
        }
    }

    async fn ask(&self) -> Result<Answer, ClientError> {
        let http = &self.client.http;
        http.register(self.registration).await?;
        let left = self.deadline.saturating_duration_since(Instant::now());
        // In whole seconds, and within the deadline, so that the last answer is heard.
        let hold = Duration::from_secs(http.limits().hold.min(left).as_secs());
        // A first question is answered at once, so that whoever watches need not wait to learn what for.
        let hold = Some(hold).filter(|hold| !hold.is_zero() && self.state.is_known());
        http.node(self.registration, hold).await
    }

    /// Says what is waited for now, once.
    fn now(&mut self, state: WaitState) {
        if self.state == state {
            return;
        }
        let identifier = self.registration.identifier.clone();
        info!(node = %identifier, %state, "waiting for the configuration");
        self.state = state;
        if let Some(report) = &self.client.progress {
            report(&WaitProgress {
                identifier,
                waited: self.started.elapsed(),
                state: self.state.clone(),
            });
        }
    }
}
