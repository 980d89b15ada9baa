//! Teardown: ends the processes of a cluster, removes its folder, and strikes both from the ledger. What a killed harness left is `reap`'s.

use std::sync::Arc;

use tracing::warn;
use trellis_bootstrap::{ProviderError, Resource};

use super::LocalControl;
use crate::{
    folder,
    node::{KILLED_WITHIN, Node},
    survivors,
};

impl LocalControl {
    /// Removes all that the cluster owns; may be called again after a failure.
    pub(super) async fn remove(&self) -> Result<(), ProviderError> {
        let mut removed = self.removed.lock().await;
        if *removed {
            return Ok(());
        }
        self.nodes().is_closed = true;
        let mut left = self.end_processes().await;
        let [processes, folder] = &self.entries;
        if left.is_empty() {
            left.extend(self.strike(processes));
        }
        let kept = self.remove_folder().await;
        if kept.is_empty() {
            left.extend(self.strike(folder));
        }
        left.extend(kept);
        *removed = left.is_empty();
        if *removed {
            self.nodes().by_name.clear();
            Ok(())
        } else {
            Err(ProviderError::LeftBehind { left })
        }
    }

    /// Ends all processes; gives what is left of them, in words.
    async fn end_processes(&self) -> Vec<String> {
        let nodes = self.all_nodes();
        // Before the turns are waited for, so that an operation that waits for its node ends at once.
        self.kill_all();
        let mut turns = Vec::new();
        for node in &nodes {
            turns.push(node.turn().await);
        }
        self.kill_all();
        let mut left = Vec::new();
        for node in &nodes {
            if let Some(process) = node.process()
                && tokio::time::timeout(KILLED_WITHIN, process.wait_for_end())
                    .await
                    .is_err()
            {
                left.push(format!("{} ({})", node.name, process.label()));
            }
            node.release_ports();
        }
        let label = self.label.clone();
        let sweep = tokio::task::spawn_blocking(move || survivors::end_all(&label, KILLED_WITHIN));
        match sweep.await {
            Ok(sweep) => left.extend(sweep.left),
            Err(error) => left.push(format!("processes that nobody looked for: {error}")),
        }
        left
    }

    async fn remove_folder(&self) -> Vec<String> {
        let (root, run) = (self.folder.root().to_owned(), self.ledger.run().clone());
        let removal = tokio::task::spawn_blocking(move || folder::remove_marked(&root, &run));
        match removal.await {
            Ok(Ok(_)) => Vec::new(),
            Ok(Err(error)) => vec![error.in_words()],
            Err(error) => vec![format!("{}: {error}", self.folder.root().display())],
        }
    }

    fn strike(&self, entry: &Resource) -> Vec<String> {
        match self.ledger.removed(entry) {
            Ok(()) => Vec::new(),
            Err(error) => vec![format!("{} is removed, but {error}", entry.id)],
        }
    }

    fn all_nodes(&self) -> Vec<Arc<Node>> {
        self.nodes().by_name.values().cloned().collect()
    }

    fn kill_all(&self) {
        for node in self.all_nodes() {
            if let Some(process) = node.process() {
                process.kill();
            }
        }
    }
}

/// Kills, warns and keeps the files; `trellis clean` removes them.
impl Drop for LocalControl {
    fn drop(&mut self) {
        if *self.removed.get_mut() {
            return;
        }
        self.kill_all();
        warn!(
            folder = %self.folder.root().display(),
            "a cluster was dropped without a teardown: its processes are killed, its files are kept for `trellis clean`"
        );
    }
}
