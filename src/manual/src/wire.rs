//! The wire: lines of JSON over a Unix socket, bounded in length, and no side waits for the other for ever.

use std::{io, time::Duration};

use futures::{SinkExt, StreamExt};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use tokio::{net::UnixStream, time::timeout};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

/// The longest line; the largest status is far smaller, and logs are sent in pieces.
const LINE_BYTES_MAX: usize = 4 << 20;
/// How long the other side may take to take a line.
const SENT_WITHIN: Duration = Duration::from_secs(5);

/// Why the two sides do not understand each other.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The other side went away.
    #[error("the connection was closed in the middle")]
    Closed,
    /// The other side is there and does nothing.
    #[error("nothing was heard for {within:?}")]
    Silent {
        /// How long was waited.
        within: Duration,
    },
    /// A line longer than any.
    #[error("a line has more than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// A line that is something else than what was expected.
    #[error("a line is not understood")]
    NotUnderstood(#[source] serde_json::Error),
    /// The system failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
}

impl From<LinesCodecError> for WireError {
    fn from(error: LinesCodecError) -> Self {
        match error {
            LinesCodecError::MaxLineLengthExceeded => Self::TooLong,
            LinesCodecError::Io(error) => Self::Io(error),
        }
    }
}

/// One side of a connection.
#[derive(Debug)]
pub(crate) struct Wire(Framed<UnixStream, LinesCodec>);

impl Wire {
    pub(crate) fn new(stream: UnixStream) -> Self {
        let codec = LinesCodec::new_with_max_length(LINE_BYTES_MAX);
        Self(Framed::new(stream, codec))
    }

    pub(crate) async fn send(&mut self, value: &impl Serialize) -> Result<(), WireError> {
        let line = serde_json::to_string(value).map_err(WireError::NotUnderstood)?;
        match timeout(SENT_WITHIN, self.0.send(line)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(WireError::Silent {
                within: SENT_WITHIN,
            }),
        }
    }

    pub(crate) async fn receive<T: DeserializeOwned>(
        &mut self,
        within: Duration,
    ) -> Result<T, WireError> {
        let line = match timeout(within, self.0.next()).await {
            Ok(Some(line)) => line?,
            Ok(None) => return Err(WireError::Closed),
            Err(_) => return Err(WireError::Silent { within }),
        };
        serde_json::from_str(&line).map_err(WireError::NotUnderstood)
    }

    /// Waits until the other side has gone.
    pub(crate) async fn closed(mut self, within: Duration) -> Result<(), WireError> {
        match self.receive::<serde::de::IgnoredAny>(within).await {
            Err(WireError::Silent { within }) => Err(WireError::Silent { within }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn pair() -> (Wire, Wire) {
        let (a, b) = UnixStream::pair().unwrap();
        (Wire::new(a), Wire::new(b))
    }

    #[tokio::test]
    async fn what_is_sent_is_received_and_an_end_is_noticed() {
        let (mut a, mut b) = pair();
        a.send(&vec!["one line\nof text"]).await.unwrap();
        let got: Vec<String> = b.receive(SOON).await.unwrap();
        assert_eq!(got, ["one line\nof text"]);
        drop(a);
        let end = b.receive::<String>(SOON).await.unwrap_err();
        assert!(matches!(end, WireError::Closed), "{end}");
    }

    #[tokio::test]
    async fn silence_nonsense_and_endless_lines_are_errors() {
        let (mut a, mut b) = pair();
        let silence = b.receive::<String>(Duration::from_millis(1)).await;
        assert!(matches!(silence, Err(WireError::Silent { .. })));
        a.send(&7).await.unwrap();
        let nonsense = b.receive::<String>(SOON).await;
        assert!(matches!(nonsense, Err(WireError::NotUnderstood(_))));
        let endless = "x".repeat(LINE_BYTES_MAX + 1);
        let sending = tokio::spawn(async move { a.send(&endless).await });
        let received = b.receive::<String>(SOON).await;
        assert!(matches!(received, Err(WireError::TooLong)), "{received:?}");
        sending.abort();
    }
}
