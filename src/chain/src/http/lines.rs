//! Lines: an answer that goes on, cut at its line ends (newline-delimited JSON).

use futures::{StreamExt as _, stream, stream::BoxStream};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};

use super::{answer::HttpAnswer, failure};
use crate::error::{SourceError, SourceErrorKind};

/// An answer that was asked for as a stream.
pub enum Lines {
    /// Each line that is not empty, as it comes. An error is the last item. Nothing limits how
    /// long a stream may be silent, because a chain may be too. Dropping it ends the request.
    Begun(BoxStream<'static, Result<Vec<u8>, SourceError>>),
    /// A status other than success.
    Refused(HttpAnswer),
}

/// The lines of `body`, each of at most `bytes_max`.
pub(super) fn of(
    body: Incoming,
    bytes_max: usize,
    failed: impl Fn(SourceErrorKind) -> SourceError + Send + 'static,
) -> BoxStream<'static, Result<Vec<u8>, SourceError>> {
    let cutter = Cutter {
        body,
        chunk: Bytes::new(),
        line: Vec::new(),
        bytes_max,
    };
    let lines = stream::unfold(Some((cutter, failed)), async |state| {
        let (mut cutter, failed) = state?;
        match cutter.next().await {
            Ok(Some(line)) => Some((Ok(line), Some((cutter, failed)))),
            Ok(None) => None,
            Err(kind) => Some((Err(failed(kind)), None)),
        }
    });
    lines.boxed()
}

struct Cutter {
    body: Incoming,
    /// What has come and is not looked at.
    chunk: Bytes,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    bytes_max: usize,
}

impl Cutter {
    /// The next line; at the end of the answer, what has no line end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, SourceErrorKind> {
        loop {
            while let Some(end) = self.chunk.iter().position(|byte| *byte == b'\n') {
                let rest = self.chunk.split_to(end + 1);
                self.keep(&rest[..end])?;
                let line = std::mem::take(&mut self.line);
                if !line.trim_ascii().is_empty() {
                    return Ok(Some(line));
                }
            }
            let rest = std::mem::take(&mut self.chunk);
            self.keep(&rest)?;
            match self.body.frame().await {
                Some(frame) => {
                    let frame = frame.map_err(failure::of_body)?;
                    self.chunk = frame.into_data().unwrap_or_default();
                }
                None if self.line.trim_ascii().is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.line))),
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), SourceErrorKind> {
        if self.line.len() + bytes.len() > self.bytes_max {
            let bytes_max = self.bytes_max as u64;
            return Err(SourceErrorKind::TooLarge { bytes_max });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }
}
