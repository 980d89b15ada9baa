//! Serving: connections, from the first to the last.

use std::{future::Future, io, net::Ipv4Addr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{router::build_cfgsync_router, state::CfgsyncServerState};

/// Connections that the kernel keeps for us until we take them: many nodes start at once.
const BACKLOG: u32 = 4096;
/// What a connection may buffer: far above the limit of a request's head, which has an answer.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Headers that are read: far above the limit of [`crate::ServerLimits`], which has an answer. A head with more is refused by the library, without a word.
const HEADERS_READ_MAX: usize = 512;
/// Pause after the system had no descriptor for a connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A listener that only this machine reaches; with port 0 the system chooses one. For any other address bind a listener of your own.
///
/// # Errors
/// The port is taken.
pub async fn bind_loopback(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // A server that starts again finds its port still in use by connections that ended just now.
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(BACKLOG)
}

/// Serves until `shutdown` is done and the requests under way have ended.
///
/// On shutdown no connection is taken any more, and held requests are answered at once as though their time were up (425, or what there is), so that their clients ask again; whoever needs longer than [`crate::ServerLimits::drain_within`] is cut off.
///
/// # Errors
/// The listener does not say its address; no request and no connection ends the server.
///
/// # Cancel safety
/// Dropping closes the listener and all connections at once.
pub async fn serve_cfgsync(
    listener: TcpListener,
    state: CfgsyncServerState,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let limits = state.limits().clone();
    let (closing, closed) = watch::channel(false);
    let router = build_cfgsync_router(state.closing_with(closed.clone()));
    let mut connections = JoinSet::new();
    info!(%address, "cfgsync serves");

    let room = Arc::new(Semaphore::new(
        limits.connections_max.min(Semaphore::MAX_PERMITS),
    ));
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            // Those that ended are forgotten as they end.
            Some(_) = connections.join_next() => {}
            (stream, permit) = next(&listener, &room) => {
                let connection = connection(stream, router.clone(), limits.read_within, closed.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
        }
    }
    drop(listener);
    closing.send_replace(true);
    let drained = timeout(limits.drain_within, async {
        while connections.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        warn!(%address, left = connections.len(), "connections were cut off");
        connections.shutdown().await;
    }
    info!(%address, "cfgsync ends");
    Ok(())
}

/// The next connection, once there is room for one.
///
/// # Cancel safety
/// Dropping loses no connection: what was not taken stays with the kernel.
async fn next(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(room).acquire_owned().await;
    let permit = permit.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) if of_one_connection(&error) => debug!(%error, "a connection was lost"),
            Err(error) => {
                warn!(%error, "no connection can be taken");
                sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn connection(
    stream: TcpStream,
    router: Router,
    read_within: Duration,
    mut closed: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection keeps its delay");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(read_within)
        .max_headers(HEADERS_READ_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let closing = async { drop(closed.wait_for(|closed| *closed).await) };
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = closing => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection broke off");
    }
}
