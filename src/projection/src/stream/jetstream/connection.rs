//! The connection to a server, which outlives the deliveries that are made over it.

use std::sync::{Arc, atomic::Ordering};

use async_nats::{Client, ConnectOptions, Event, ServerAddr, jetstream};

use super::JetStreamSource;
use crate::{
    settings::Settings,
    stream::{
        StreamError,
        probe::{Notes, StreamProbe},
    },
};

/// A connection to a server, for one source at a time and for the probe of it.
#[derive(Clone)]
pub struct JetStreamConnection {
    client: Client,
    context: jetstream::Context,
    /// As it may be shown.
    url: String,
    notes: Arc<Notes>,
}

impl JetStreamConnection {
    /// A connection to the server that `settings` name, which is made as soon as that is there.
    ///
    /// # Errors
    /// The address is none.
    pub async fn when_there(settings: &Settings) -> Result<Self, StreamError> {
        let options = ConnectOptions::new().retry_on_initial_connect();
        Self::with(settings, options).await
    }

    pub(super) async fn with(
        settings: &Settings,
        options: ConnectOptions,
    ) -> Result<Self, StreamError> {
        let failed = |source| StreamError::Unreachable {
            url: without_password(&settings.nats_url),
            source,
        };
        let notes = Arc::new(Notes::default());
        let counted = Arc::clone(&notes);
        let options = options.name("projection").event_callback(move |event| {
            if let Event::Disconnected = event {
                counted.disconnections.fetch_add(1, Ordering::Relaxed);
            }
            async {}
        });
        let address: ServerAddr = settings
            .nats_url
            .parse()
            .map_err(|error| failed(Box::new(error)))?;
        let client = options
            .connect(address)
            .await
            .map_err(|error| failed(Box::new(error)))?;
        Ok(Self {
            context: jetstream::new(client.clone()),
            client,
            url: without_password(&settings.nats_url),
            notes,
        })
    }

    /// A source of what `settings` name. The one before it must have ended.
    pub fn source(&self, settings: &Settings) -> JetStreamSource {
        JetStreamSource {
            client: self.client.clone(),
            context: self.context.clone(),
            stream: settings.stream.clone(),
            subjects: settings.subjects.clone(),
            kind: settings.source,
            durable: settings.durable.clone(),
            heartbeat: settings.heartbeat,
            queue_bytes_max: settings.queue_bytes_max,
            notes: Arc::clone(&self.notes),
            active: None,
            looked_at: None,
            broken: None,
        }
    }

    /// Asks about the stream beside that source.
    pub fn probe(&self, settings: &Settings) -> StreamProbe {
        StreamProbe {
            client: self.client.clone(),
            context: self.context.clone(),
            stream: settings.stream.clone(),
            url: self.url.clone(),
            filtered: !settings.subjects.is_empty(),
            notes: Arc::clone(&self.notes),
        }
    }
}

/// An address as it may be shown.
fn without_password(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map(|(scheme, _)| scheme);
            format!("{}://***@{host}", scheme.unwrap_or("nats"))
        }
        None => url.to_owned(),
    }
}
