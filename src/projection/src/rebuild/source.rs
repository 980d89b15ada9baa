//! Sources of nodes: what is served has a delivery, and each rebuild one of its own.

use async_trait::async_trait;

use crate::{
    settings::{Settings, SourceKind},
    stream::{
        Delivery, EventSource, JetStreamConnection, JetStreamSource, MemorySource, ReceiveLimits,
        StreamError, StreamFacts, StreamProbe,
    },
};

/// Where a node gets its deliveries.
#[async_trait]
pub trait Sources: Send + Sync {
    /// The delivery of what is served.
    ///
    /// # Errors
    /// The server cannot be reached.
    async fn served(&self) -> Result<Box<dyn EventSource>, StreamError>;

    /// Another one beside it, which acknowledges nothing.
    ///
    /// # Errors
    /// The server cannot be reached.
    async fn replay(&self) -> Result<Box<dyn EventSource>, StreamError>;
}

/// Deliveries of a JetStream stream, each by a connection of its own; what is served has the same one for as long as a node runs.
#[derive(Clone)]
pub struct JetStreamSources {
    settings: Settings,
    served: Option<JetStreamConnection>,
}

impl JetStreamSources {
    /// Those that `settings` name.
    pub fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            served: None,
        }
    }

    /// The same for a node, which waits for a server that is not there yet and asks about the stream beside what it reads.
    ///
    /// # Errors
    /// The address is none.
    pub async fn of_node(settings: &Settings) -> Result<(Self, StreamProbe), StreamError> {
        let connection = JetStreamConnection::when_there(settings).await?;
        let probe = connection.probe(settings);
        let sources = Self {
            settings: settings.clone(),
            served: Some(connection),
        };
        Ok((sources, probe))
    }
}

#[async_trait]
impl Sources for JetStreamSources {
    async fn served(&self) -> Result<Box<dyn EventSource>, StreamError> {
        Ok(Box::new(match &self.served {
            Some(connection) => connection.source(&self.settings),
            None => JetStreamSource::connect(&self.settings).await?,
        }))
    }

    async fn replay(&self) -> Result<Box<dyn EventSource>, StreamError> {
        // A durable consumer has one place in the stream, and that is where what is served is.
        let settings = Settings {
            source: SourceKind::Ordered,
            ..self.settings.clone()
        };
        Ok(Box::new(JetStreamSource::connect(&settings).await?))
    }
}

/// Deliveries of a stream in memory.
#[derive(Debug, Clone)]
pub struct MemorySources(pub MemorySource);

#[async_trait]
impl Sources for MemorySources {
    async fn served(&self) -> Result<Box<dyn EventSource>, StreamError> {
        Ok(Box::new(self.0.clone()))
    }

    async fn replay(&self) -> Result<Box<dyn EventSource>, StreamError> {
        Ok(Box::new(self.0.clone()))
    }
}

#[async_trait]
impl EventSource for Box<dyn EventSource> {
    async fn facts(&mut self, floor: u64) -> Result<StreamFacts, StreamError> {
        (**self).facts(floor).await
    }

    async fn start(&mut self, from: u64) -> Result<(), StreamError> {
        (**self).start(from).await
    }

    async fn receive(&mut self, limits: &ReceiveLimits) -> Result<Vec<Delivery>, StreamError> {
        (**self).receive(limits).await
    }

    async fn pending(&mut self) -> Result<u64, StreamError> {
        (**self).pending().await
    }

    async fn acknowledge(&mut self, through: u64) -> Result<(), StreamError> {
        (**self).acknowledge(through).await
    }
}
