//! A key-value bucket of JetStream as a board. Servers have had them since 2.6.2.

use std::sync::{Mutex, PoisonError};

use async_nats::jetstream::{
    self, Context,
    context::KeyValueErrorKind,
    kv::{Operation, Store, UpdateErrorKind},
    stream::{Config, DiscardPolicy},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::{LeaseBoard, LeaseError, Posted};

/// A bucket.
pub struct NatsBoard {
    context: Context,
    bucket: String,
    /// Opened anew after trouble: the bucket may be another one by then.
    store: Mutex<Store>,
}

impl NatsBoard {
    /// How many keys are asked for at once.
    const AT_ONCE: usize = 32;

    /// Opens the bucket `bucket` on the server `url`, and creates it where there is none.
    ///
    /// # Errors
    /// The server does not answer, or has no buckets.
    pub async fn connect(url: &str, bucket: &str) -> Result<Self, LeaseError> {
        let client = async_nats::ConnectOptions::new()
            .name("projection leases")
            .connect(url)
            .await
            .map_err(|error| unreachable("accept a connection", error))?;
        let context = jetstream::new(client);
        let store = Mutex::new(open(&context, bucket).await?);
        Ok(Self {
            context,
            bucket: bucket.to_owned(),
            store,
        })
    }

    fn store(&self) -> Store {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.clone()
    }

    /// Each key is asked for: a listing by a consumer can wait for ever for a key that is just being written again.
    async fn list(&self) -> Result<Vec<Posted>, LeaseError> {
        let failed = |error| unreachable("show its keys", error);
        let prefix = format!("$KV.{}.", self.bucket);
        let stream = self.context.get_stream(format!("KV_{}", self.bucket)).await;
        let stream = stream.map_err(|error| unreachable("show its keys", error))?;
        let subjects = stream.info_with_subjects(format!("{prefix}>")).await;
        let subjects: Vec<_> = subjects
            .map_err(|error| unreachable("show its keys", error))?
            .try_collect()
            .await
            .map_err(|error| unreachable("show its keys", error))?;
        let store = self.store();
        let keys = subjects
            .into_iter()
            .filter_map(|(subject, _)| subject.strip_prefix(&prefix).map(str::to_owned));
        let entries = futures::stream::iter(keys.collect::<Vec<_>>())
            .map(|key| {
                let store = store.clone();
                async move { store.entry(key).await }
            })
            .buffer_unordered(Self::AT_ONCE);
        let entries: Vec<_> = entries.try_collect().await.map_err(failed)?;
        let posted = entries
            .into_iter()
            .flatten()
            .filter(|entry| entry.operation == Operation::Put);
        let posted = posted.map(|entry| Posted {
            key: entry.key,
            revision: entry.revision,
            value: entry.value,
        });
        Ok(posted.collect())
    }
}

async fn open(context: &Context, bucket: &str) -> Result<Store, LeaseError> {
    match context.get_key_value(bucket).await {
        Ok(store) => Ok(store),
        Err(error) if error.kind() == KeyValueErrorKind::GetBucket => create(context, bucket).await,
        Err(error) => Err(unreachable("open the bucket", error)),
    }
}

/// As a stream, which is what a bucket is: the client's own call asks for the account first, and does not understand what servers before 2.10 answer.
async fn create(context: &Context, bucket: &str) -> Result<Store, LeaseError> {
    let config = Config {
        name: format!("KV_{bucket}"),
        description: Some("which projection node owns which shard".to_owned()),
        subjects: vec![format!("$KV.{bucket}.>")],
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..Config::default()
    };
    let created = context.create_stream(config).await;
    // Another node may have been quicker, or an operator, who wants more replicas of it.
    match (context.get_key_value(bucket).await, created) {
        (Ok(store), _) => Ok(store),
        (Err(_), Err(error)) => Err(unreachable("create the bucket", error)),
        (Err(error), Ok(_)) => Err(unreachable("open the bucket", error)),
    }
}

#[async_trait]
impl LeaseBoard for NatsBoard {
    async fn read(&self) -> Result<Vec<Posted>, LeaseError> {
        let listed = self.list().await;
        if listed.is_err() {
            let store = open(&self.context, &self.bucket).await?;
            *self.store.lock().unwrap_or_else(PoisonError::into_inner) = store;
        }
        listed
    }

    async fn post(
        &self,
        key: &str,
        value: Bytes,
        revision: Option<u64>,
    ) -> Result<u64, LeaseError> {
        // Revision 0 is that of a key that is not there.
        let store = self.store();
        let posted = store.update(key, value, revision.unwrap_or(0)).await;
        posted.map_err(|error| match error.kind() {
            UpdateErrorKind::WrongLastRevision => LeaseError::Moved {
                key: key.to_owned(),
            },
            _ => unreachable("take a key", error),
        })
    }

    async fn remove(&self, key: &str) -> Result<(), LeaseError> {
        // From the stream itself: the bucket's own way leaves a marker for ever, and each node that ever was would have one.
        let removing = async {
            let stream = self.context.get_stream(format!("KV_{}", self.bucket));
            let stream = stream
                .await
                .map_err(|error| unreachable("remove a key", error))?;
            let subject = format!("$KV.{}.{key}", self.bucket);
            let purged = stream.purge().filter(subject).await;
            purged
                .map(drop)
                .map_err(|error| unreachable("remove a key", error))
        };
        removing.await
    }
}

fn unreachable(
    operation: &'static str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> LeaseError {
    LeaseError::Unreachable {
        operation,
        source: Box::new(error),
    }
}
