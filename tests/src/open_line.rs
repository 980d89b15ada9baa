//! An open line: one HTTP connection that is kept, so that its breaking is noticed.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use trellis_domain::Secret;

/// The most that is read of an answer's body, in bytes.
const BODY_MAX: usize = 64 * 1024;

/// A connection to one node.
pub struct OpenLine {
    stream: BufReader<TcpStream>,
    request: String,
}

impl OpenLine {
    /// Connects to `address` and asks once.
    ///
    /// # Errors
    /// Nobody answers there.
    pub async fn to(address: SocketAddr, token: Option<&Secret>) -> io::Result<Self> {
        let authorisation =
            token.map(|token| format!("authorization: Bearer {}\r\n", token.expose()));
        let mut line = Self {
            stream: BufReader::new(TcpStream::connect(address).await?),
            request: format!(
                "GET /health HTTP/1.1\r\nhost: {address}\r\n{}\r\n",
                authorisation.unwrap_or_default()
            ),
        };
        line.ask().await?;
        Ok(line)
    }

    /// One question and its answer.
    ///
    /// # Errors
    /// The connection is gone, or the answer is no success.
    pub async fn ask(&mut self) -> io::Result<()> {
        self.stream.write_all(self.request.as_bytes()).await?;
        let status = self.line().await?;
        if !status.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(format!(
                "the answer is {:?}",
                status.trim()
            )));
        }
        let mut length = 0;
        loop {
            let header = self.line().await?.to_ascii_lowercase();
            if header == "\r\n" {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; usize::min(length, BODY_MAX)];
        self.stream.read_exact(&mut body).await.map(drop)
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }
}
