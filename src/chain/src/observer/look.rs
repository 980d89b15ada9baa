//! Look: what each node is asked in every cycle, and how a question is put to whoever knows.

use std::{collections::BTreeSet, error::Error, sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    error::SourceError,
    id::{BlockId, Owner, TxId},
    model::{Block, BlockAnswer, Funds, Head, Header},
    source::{AncestryEnd, ChainSource, WireShape},
};

/// A node that is asked, by the name that features use.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) name: Arc<str>,
    pub(super) source: Arc<dyn ChainSource>,
    /// Within which time its mempool is asked for too, beside its head.
    pub(super) mempool_within: Option<Duration>,
    /// How long one call may take, lest a node that hangs takes the time of all others.
    pub(super) within: Duration,
}

/// A node failed or took too long: nothing is known, and asking again may help.
pub(super) struct NoAnswer;

impl Asked {
    pub(super) async fn header(&self, id: BlockId) -> Result<Option<Header>, NoAnswer> {
        self.answer(self.source.header(id)).await
    }

    pub(super) async fn block(&self, id: BlockId) -> Result<BlockAnswer, NoAnswer> {
        self.answer(self.source.block(id)).await
    }

    pub(super) async fn ancestry(
        &self,
        from: BlockId,
        end: AncestryEnd,
    ) -> Result<Vec<Header>, NoAnswer> {
        self.answer(self.source.ancestry(from, end)).await
    }

    pub(super) async fn range(&self, from: u64, to: u64) -> Result<Vec<Block>, NoAnswer> {
        self.answer(self.source.range(from, to)).await
    }

    pub(super) async fn funds(
        &self,
        owner: &Owner,
        at: BlockId,
    ) -> Result<Option<Funds>, NoAnswer> {
        self.answer(self.source.funds(owner, Some(at))).await
    }

    async fn answer<T>(
        &self,
        call: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, NoAnswer> {
        let answer = timeout(self.within, call)
            .await
            .map_err(|_elapsed| NoAnswer)?;
        answer.map_err(|error| {
            tracing::debug!(node = %self.name, %error, "an answer was not had");
            NoAnswer
        })
    }
}

/// What a node answered.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) head: Head,
    pub(super) shape: WireShape,
    pub(super) mempool: Option<Arc<BTreeSet<TxId>>>,
}

/// Asks one node where it is. Its mempool may fail or hang without making the answer fail: it is
/// asked for again in the next cycle.
pub(super) async fn look(asked: Asked) -> Result<Looked, SourceError> {
    let source = asked.source.as_ref();
    let mempool = async {
        let ids = timeout(asked.mempool_within?, source.mempool()).await;
        ids.ok()?.ok()
    };
    let (head, mempool) = futures::join!(source.head(), mempool);
    Ok(Looked {
        head: head?,
        shape: source.shape(),
        mempool: mempool.map(|ids| Arc::new(ids.into_iter().collect())),
    })
}

/// An error with its causes, in one line.
pub(super) fn in_one_line(error: &(dyn Error + 'static)) -> Arc<str> {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.into()
}
