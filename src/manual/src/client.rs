//! The client: what another process asks of a cluster's supervisor.

use std::{io, path::Path, time::Duration};

use tokio::{
    net::UnixStream,
    time::{Instant, sleep},
};
use trellis_bootstrap::LogTail;
use trellis_domain::NodeName;

use crate::{
    Action, ClientError, ClusterName, ClusterStatus, Done, Released, Supervision, SupervisorId,
    WireError, known_clusters,
    place::Place,
    protocol::{Ask, Hello, Reply, Request, VERSION},
    wire::Wire,
};

/// How long a supervisor may say nothing. While it works it says so every second.
const SILENT_MAX: Duration = Duration::from_secs(15);
/// How long a supervisor may take to end after it has said what it released.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether a supervisor still holds its cluster.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A cluster that runs, seen from another process.
#[derive(Debug, Clone)]
pub struct ClusterClient {
    name: ClusterName,
    place: Place,
    /// Who supervised it when it was found.
    supervisor: Option<SupervisorId>,
    /// Who asks, for the supervisor's own record.
    by: String,
}

impl ClusterClient {
    /// The cluster called `name`, whose state is below `state`; the supervisor is told that `by` asks.
    ///
    /// # Errors
    /// There is none, or its supervisor was killed.
    pub fn find(state: &Path, name: &ClusterName, by: &str) -> Result<Self, ClientError> {
        let place = Place::of(state, name);
        match place.supervision()? {
            Supervision::Live(supervisor) => Ok(Self {
                name: name.clone(),
                place,
                supervisor,
                by: by.to_owned(),
            }),
            Supervision::Dead(supervisor) => Err(ClientError::Killed {
                name: name.clone(),
                supervisor,
            }),
            Supervision::Absent => Err(ClientError::NoCluster {
                name: name.clone(),
                running: running(state)?,
            }),
        }
    }

    /// The only cluster whose state is below `state`.
    ///
    /// # Errors
    /// There is none, there are several, or the supervisor of the only one was killed.
    pub fn only(state: &Path, by: &str) -> Result<Self, ClientError> {
        let live = running(state)?;
        match live.as_slice() {
            [name] => Self::find(state, name, by),
            [] => match known_clusters(state)?.first() {
                Some((name, _)) => Self::find(state, name, by),
                None => Err(ClientError::None),
            },
            _ => Err(ClientError::Which { running: live }),
        }
    }

    /// What the cluster is called.
    pub fn name(&self) -> &ClusterName {
        &self.name
    }

    /// How the cluster is.
    ///
    /// # Errors
    /// A supervisor that does not answer.
    pub async fn status(&self) -> Result<ClusterStatus, ClientError> {
        match self.ask(Ask::Status).await?.1 {
            Reply::Status(status) => Ok(*status),
            _ => Err(self.confused()),
        }
    }

    /// Does something to a node and waits until it is done.
    ///
    /// # Errors
    /// A refusal, a failure, or a supervisor that does not answer.
    pub async fn act(&self, node: &NodeName, action: Action) -> Result<Done, ClientError> {
        let node = node.clone();
        match self.ask(Ask::Act { node, action }).await?.1 {
            Reply::Done(done) => Ok(done),
            _ => Err(self.confused()),
        }
    }

    /// The last `lines` lines that a node logged, ten thousand at most.
    ///
    /// # Errors
    /// As for [`ClusterClient::act`].
    pub async fn log(&self, node: &NodeName, lines: usize) -> Result<LogTail, ClientError> {
        let node = node.clone();
        let (mut wire, mut reply) = self.ask(Ask::Log { node, lines }).await?;
        let mut tail = LogTail::default();
        loop {
            let Reply::Log {
                source,
                lines,
                more,
            } = reply
            else {
                return Err(self.confused());
            };
            tail.source = source;
            tail.lines.extend(lines);
            if !more {
                return Ok(tail);
            }
            reply = self.reply(&mut wire).await?;
        }
    }

    /// Ends the cluster and waits until its supervisor is gone.
    ///
    /// # Errors
    /// A supervisor that does not answer or does not go; what it could not remove is in the value.
    pub async fn down(&self) -> Result<Released, ClientError> {
        let (wire, reply) = self.ask(Ask::Down).await?;
        let Reply::Released(released) = reply else {
            return Err(self.confused());
        };
        // It keeps the connection until it ends; the lock is let go of in the same moment.
        let gone = wire.closed(GONE_WITHIN).await;
        gone.map_err(|source| self.wire_error(source))?;
        self.until_gone().await?;
        Ok(released)
    }

    /// Waits until the supervisor that was found does not hold the cluster any more; one that has brought up another of the same name since is nobody to wait for.
    async fn until_gone(&self) -> Result<(), ClientError> {
        let here = Supervision::Live(self.supervisor.clone());
        let deadline = Instant::now() + GONE_WITHIN;
        while self.place.supervision()? == here {
            if Instant::now() >= deadline {
                return Err(self.wire_error(WireError::Silent {
                    within: GONE_WITHIN,
                }));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Asks, and gives the first reply that says something.
    async fn ask(&self, ask: Ask) -> Result<(Wire, Reply), ClientError> {
        let mut wire = self.connect().map_err(|source| ClientError::Unreachable {
            name: self.name.clone(),
            source,
        })?;
        let request = Request {
            by: self.by.clone(),
            ask,
        };
        // A supervisor that refuses the version says so and takes nothing more; the reply tells.
        let hello = wire.send(&Hello { version: VERSION }).await;
        let asked = hello.and(wire.send(&request).await);
        let reply = self.reply(&mut wire).await;
        match (reply, asked) {
            (Err(ClientError::Wire { .. }), Err(source)) => Err(self.wire_error(source)),
            (reply, _) => Ok((wire, reply?)),
        }
    }

    fn connect(&self) -> io::Result<Wire> {
        let stream = self.place.connect()?;
        stream.set_nonblocking(true)?;
        Ok(Wire::new(UnixStream::from_std(stream)?))
    }

    async fn reply(&self, wire: &mut Wire) -> Result<Reply, ClientError> {
        loop {
            match wire.receive(SILENT_MAX).await {
                Ok(Reply::Working) => {}
                Ok(Reply::Refused { why }) => return Err(ClientError::Refused { why }),
                Ok(reply) => return Ok(reply),
                Err(source) => return Err(self.wire_error(source)),
            }
        }
    }

    fn wire_error(&self, source: WireError) -> ClientError {
        ClientError::Wire {
            name: self.name.clone(),
            source,
        }
    }

    fn confused(&self) -> ClientError {
        ClientError::Confused {
            name: self.name.clone(),
        }
    }
}

/// The clusters below `state` whose supervisors live.
fn running(state: &Path) -> Result<Vec<ClusterName>, ClientError> {
    let known = known_clusters(state)?.into_iter();
    Ok(known
        .filter(|(_, supervision)| matches!(supervision, Supervision::Live(_)))
        .map(|(name, _)| name)
        .collect())
}
