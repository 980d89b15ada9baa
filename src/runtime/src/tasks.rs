//! Background tasks of a scenario: named, owned, cancelled together, and none of them dies in silence.

use std::{
    any::Any,
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use thiserror::Error;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What is wrong with a scenario's background tasks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TaskFailure {
    /// A task panicked.
    #[error("the background task {name:?} panicked: {message}")]
    Panicked {
        /// The task.
        name: String,
        /// The panic's message.
        message: String,
    },
    /// Tasks that did not end after they were cancelled.
    #[error("{waited:?} after they were cancelled, background tasks still run: {}", names.join(", "))]
    StillRunning {
        /// The tasks.
        names: Vec<String>,
        /// How long was waited.
        waited: Duration,
    },
}

/// The background tasks of one scenario. Cheap to clone; dropping the last clone does not end them, [`Tasks::shutdown`] and the token do.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    cancel: CancellationToken,
    tracker: TaskTracker,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    running: BTreeMap<u64, String>,
    panics: Vec<TaskFailure>,
}

impl Tasks {
    /// Tasks that end when `cancel` does, at the latest.
    pub fn below(cancel: &CancellationToken) -> Self {
        Self {
            cancel: cancel.child_token(),
            ..Self::default()
        }
    }

    /// The token that ends them.
    pub fn token(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Runs `task` in the background until it ends or is cancelled at one of its await points.
    pub fn spawn(&self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.spawn_to_end(name, async move {
            tokio::select! {
                () = task => {}
                () = cancel.cancelled() => {}
            }
        });
    }

    /// Runs `task` in the background to its end, for one that has something to put in order after [`Tasks::token`] is cancelled. It must watch the token itself.
    pub fn spawn_to_end(
        &self,
        name: impl Into<String>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let name = name.into();
        let id = {
            let mut state = self.state();
            state.next += 1;
            let id = state.next;
            state.running.insert(id, name.clone());
            id
        };
        let tasks = self.clone();
        self.tracker.spawn(async move {
            let result = AssertUnwindSafe(task).catch_unwind().await;
            let mut state = tasks.state();
            state.running.remove(&id);
            if let Err(panic) = result {
                let message = message(&*panic);
                state.panics.push(TaskFailure::Panicked { name, message });
            }
        });
    }

    /// What those that run are called, in the order of their start.
    pub fn names(&self) -> Vec<String> {
        self.state().running.values().cloned().collect()
    }

    /// The panics so far; a scenario with one has failed.
    pub fn panics(&self) -> Vec<TaskFailure> {
        self.state().panics.clone()
    }

    /// Cancels all tasks and waits for them, no longer than `within`.
    ///
    /// # Errors
    /// The tasks that are still running then.
    pub async fn shutdown(&self, within: Duration) -> Result<(), TaskFailure> {
        self.cancel.cancel();
        self.tracker.close();
        match timeout(within, self.tracker.wait()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(TaskFailure::StillRunning {
                names: self.names(),
                waited: within,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_kept_with_its_task_and_message() {
        let tasks = Tasks::default();
        tasks.spawn("writer", async { panic!("no ink") });
        while tasks.panics().is_empty() {
            tokio::task::yield_now().await;
        }
        let panics: Vec<String> = tasks.panics().iter().map(ToString::to_string).collect();
        assert_eq!(panics, [r#"the background task "writer" panicked: no ink"#]);
    }

    #[tokio::test]
    async fn shutdown_ends_tasks_that_wait() {
        let tasks = Tasks::default();
        tasks.spawn("waits", std::future::pending());
        tasks.shutdown(Duration::from_secs(5)).await.unwrap();
    }

    #[tokio::test]
    async fn shutdown_waits_for_a_task_that_puts_something_in_order() {
        let tasks = Tasks::default();
        let token = tasks.token().clone();
        let (done, is_done) = tokio::sync::oneshot::channel();
        tasks.spawn_to_end("tidies up", async move {
            token.cancelled().await;
            tokio::task::yield_now().await;
            let _ = done.send(());
        });
        tasks.shutdown(Duration::from_secs(5)).await.unwrap();
        is_done.await.expect("it came to its end");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn shutdown_names_the_tasks_that_do_not_end() {
        let tasks = Tasks::default();
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let (started, is_started) = tokio::sync::oneshot::channel();
        tasks.spawn("hogs its thread", async move {
            let _ = started.send(());
            let _ = blocked.recv();
        });
        is_started.await.unwrap();
        let error = tasks.shutdown(Duration::from_millis(20)).await.unwrap_err();
        assert!(
            error.to_string().ends_with("still run: hogs its thread"),
            "{error}"
        );
        drop(release);
        tasks.shutdown(Duration::from_secs(5)).await.unwrap();
    }
}
