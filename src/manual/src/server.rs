//! The server: accepts connections at the control socket, and answers each one's question.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Mutex, Semaphore},
    time::interval,
};
use tokio_util::task::TaskTracker;
use trellis_bootstrap::LogTail;

use crate::{
    WireError,
    desk::Desk,
    protocol::{Ask, Hello, LOG_LINES_MAX, Reply, Request, VERSION},
    wire::Wire,
};

/// How long a client may take to say what it wants.
const ASKED_WITHIN: Duration = Duration::from_secs(5);
/// How often a client is told that work goes on.
const WORKING_EVERY: Duration = Duration::from_secs(1);
/// How many clients are listened to at one time; more wait.
const CLIENTS_MAX: usize = 64;
/// How many lines of a log are sent in one piece.
const LINES_A_PIECE: usize = 1_000;

/// The connections of those who wait for the cluster's end; they see it when these are dropped.
#[derive(Debug, Default)]
pub(crate) struct Farewells(Mutex<Vec<Wire>>);

/// Answers whoever connects, until the future is dropped; connections that were accepted by then go on in `tracker`.
pub(crate) async fn serve(
    listener: UnixListener,
    desk: Arc<Desk>,
    farewells: Arc<Farewells>,
    tracker: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                desk.progress
                    .note(&format!("a connection was not accepted: {error}"));
                // Descriptors are short, most likely; without a pause this would be a busy loop.
                tokio::time::sleep(WORKING_EVERY).await;
                continue;
            }
        };
        let (desk, farewells) = (Arc::clone(&desk), Arc::clone(&farewells));
        tracker.spawn(async move {
            // A client that goes away or talks nonsense is its own affair.
            let _ = answer(stream, &desk, &farewells).await;
            drop(place);
        });
    }
}

async fn answer(stream: UnixStream, desk: &Desk, farewells: &Farewells) -> Result<(), WireError> {
    let is_ours = is_of_this_user(&stream).map_err(WireError::Io)?;
    let mut wire = Wire::new(stream);
    if !is_ours {
        return refuse(&mut wire, "this cluster belongs to another user").await;
    }
    let hello: Hello = wire.receive(ASKED_WITHIN).await?;
    if hello.version != VERSION {
        let why = format!(
            "the supervisor of {} speaks version {VERSION} of its protocol, and not {}; use the trellis that it was started with, or end it with Ctrl-C",
            desk.name, hello.version
        );
        return refuse(&mut wire, &why).await;
    }
    let Request { by, ask } = wire.receive(ASKED_WITHIN).await?;
    match ask {
        Ask::Status => {
            let status = while_working(&mut wire, desk.status()).await?;
            wire.send(&Reply::Status(Box::new(status))).await
        }
        Ask::Log { node, lines } => {
            let reading = desk.log(&node, lines.min(LOG_LINES_MAX));
            match while_working(&mut wire, reading).await? {
                Ok(tail) => send_log(&mut wire, tail).await,
                Err(why) => refuse(&mut wire, &why).await,
            }
        }
        Ask::Act { node, action } => {
            match while_working(&mut wire, desk.act(&by, node, action)).await? {
                Ok(done) => wire.send(&Reply::Done(done)).await,
                Err(why) => refuse(&mut wire, &why).await,
            }
        }
        Ask::Down => {
            let released = while_working(&mut wire, desk.down(&by)).await?;
            wire.send(&Reply::Released(released)).await?;
            farewells.0.lock().await.push(wire);
            Ok(())
        }
    }
}

async fn refuse(wire: &mut Wire, why: &str) -> Result<(), WireError> {
    let why = why.to_owned();
    wire.send(&Reply::Refused { why }).await
}

async fn send_log(wire: &mut Wire, tail: LogTail) -> Result<(), WireError> {
    let LogTail { source, mut lines } = tail;
    loop {
        let rest = lines.split_off(lines.len().min(LINES_A_PIECE));
        let more = !rest.is_empty();
        let source = source.clone();
        wire.send(&Reply::Log {
            source,
            lines,
            more,
        })
        .await?;
        if !more {
            return Ok(());
        }
        lines = rest;
    }
}

/// Awaits `work` and tells the client again and again that it goes on. A client that has gone ends the wait.
async fn while_working<T>(wire: &mut Wire, work: impl Future<Output = T>) -> Result<T, WireError> {
    let mut work = pin!(work);
    let mut ticks = interval(WORKING_EVERY);
    ticks.tick().await;
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            _ = ticks.tick() => wire.send(&Reply::Working).await?,
        }
    }
}

/// The folder keeps others out; this does so, too, where somebody opened it.
fn is_of_this_user(stream: &UnixStream) -> io::Result<bool> {
    let theirs = stream.peer_cred()?.uid();
    Ok(theirs == rustix::process::geteuid().as_raw() || theirs == 0)
}
