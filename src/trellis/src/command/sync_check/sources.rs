//! Sources: the nodes that a call names, and which wire each of them speaks.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use clap::{Args, ValueEnum};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use trellis_bootstrap::in_one_line;
use trellis_chain::{
    ChainSource, SourceError, SourceErrorKind,
    bitcoin::{BitcoinRpc, BitcoinSource, RpcAuth, RpcConfig},
    http::{HttpAuth, HttpConfig, HttpConfigError},
    logos::{LogosHttp, LogosSource},
};
use trellis_settings::{Environment, resolve_cell};
use url::Url;

use super::{super::exit::Failure, Sources};

/// How long a node may take to show which wire it speaks.
const PROBE_WITHIN: Duration = Duration::from_secs(3);
/// How often nodes are asked while none answers.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Whom to compare with whom.
#[derive(Debug, Args)]
pub(super) struct SourceArguments {
    /// The nodes that shall follow. env(NAME) stands for a variable.
    #[arg(long, value_name = "URL", num_args = 1.., required = true)]
    local: Vec<String>,
    /// The public peers; three or more, so that no single one can be believed alone. env(NAME) stands for a variable.
    #[arg(long, value_name = "URL", num_args = 1.., required = true)]
    public: Vec<String>,
    /// What the nodes speak [default: found out by asking each]
    #[arg(long, value_enum)]
    wire: Option<Wire>,
    #[command(flatten)]
    access: AccessArguments,
}

/// The variables in which users and passwords are.
#[derive(Debug, Args)]
struct AccessArguments {
    /// The variable with the user for the local nodes.
    #[arg(
        long = "local-user-env",
        value_name = "NAME",
        requires = "local_password"
    )]
    local_user: Option<String>,
    /// The variable with the password for the local nodes.
    #[arg(
        long = "local-password-env",
        value_name = "NAME",
        requires = "local_user"
    )]
    local_password: Option<String>,
    /// The variable with the user for the public peers.
    #[arg(
        long = "public-user-env",
        value_name = "NAME",
        requires = "public_password"
    )]
    public_user: Option<String>,
    /// The variable with the password for the public peers.
    #[arg(
        long = "public-password-env",
        value_name = "NAME",
        requires = "public_user"
    )]
    public_password: Option<String>,
}

/// What a node speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Wire {
    /// The HTTP interface of a Logos node.
    Logos,
    /// The JSON-RPC of Bitcoin Core and its family.
    Bitcoin,
}

/// The nodes of a call.
pub(super) struct Nodes {
    local: Vec<Node>,
    public: Vec<Node>,
    wire: Option<Wire>,
}

struct Node {
    name: Arc<str>,
    url: Url,
    access: Option<(String, String)>,
}

impl SourceArguments {
    /// The nodes, once it is sure that they can be asked.
    pub(super) fn nodes(&self) -> Result<Nodes, Failure> {
        let environment = Environment::of_process();
        let access = &self.access;
        let local = access_of(
            access.local_user.as_ref(),
            access.local_password.as_ref(),
            &environment,
        )?;
        let public = access_of(
            access.public_user.as_ref(),
            access.public_password.as_ref(),
            &environment,
        )?;
        let list = |urls: &[String], access: Option<&(String, String)>| {
            let nodes = urls.iter().map(|url| Node::new(url, access, &environment));
            nodes.collect::<Result<Vec<_>, Failure>>()
        };
        let nodes = Nodes {
            local: list(&self.local, local.as_ref())?,
            public: list(&self.public, public.as_ref())?,
            wire: self.wire,
        };
        let mut names = BTreeSet::new();
        if let Some(twice) = nodes.all().find(|node| !names.insert(&node.name)) {
            // It would count twice towards a majority, or confirm itself.
            return Err(Failure::wrong(format!("{} is given twice", twice.name)));
        }
        for node in nodes.all() {
            node.source(Wire::Logos)?;
        }
        Ok(nodes)
    }
}

fn access_of(
    user: Option<&String>,
    password: Option<&String>,
    environment: &Environment,
) -> Result<Option<(String, String)>, Failure> {
    let (Some(user), Some(password)) = (user, password) else {
        return Ok(None);
    };
    let read = |name: &str| -> Result<String, Failure> {
        let cell = resolve_cell(&format!("env({name})"), environment);
        let cell = cell.map_err(|error| Failure::wrong(in_one_line(&error)))?;
        Ok(cell.text().to_owned())
    };
    Ok(Some((read(user)?, read(password)?)))
}

impl Nodes {
    fn all(&self) -> impl Iterator<Item = &Node> {
        self.local.iter().chain(&self.public)
    }

    /// The wire of each node, the local ones first. One that does not answer is taken to speak as another one does; while none answers they are asked again, until `deadline`.
    pub(super) async fn wires(&self, deadline: Instant, mut tell: impl FnMut(&str)) -> Vec<Wire> {
        let count = self.all().count();
        if let Some(wire) = self.wire {
            return vec![wire; count];
        }
        let mut ticks = interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let asked = async {
            loop {
                ticks.tick().await;
                let probes: Vec<_> = self.all().map(Node::probe).collect();
                let answers = join_all(probes).await;
                if let Some(found) = answers.iter().find_map(|answer| answer.as_ref().ok()) {
                    let wires = answers
                        .iter()
                        .map(|answer| *answer.as_ref().unwrap_or(found));
                    return wires.collect();
                }
                let why = answers.iter().find_map(|answer| answer.as_ref().err());
                tell(&why.map_or_else(String::new, |error| in_one_line(error.as_ref())));
            }
        };
        let found = timeout_at(deadline, asked).await;
        found.unwrap_or_else(|_| vec![Wire::Logos; count])
    }

    /// What the nodes are asked through, each by its wire.
    pub(super) fn sources(&self, wires: &[Wire]) -> Result<Sources, Failure> {
        let sources = self.all().zip(wires);
        let mut local = sources
            .map(|(node, wire)| node.source(*wire))
            .collect::<Result<Vec<_>, Failure>>()?;
        let public = local.split_off(self.local.len());
        Ok((local, public))
    }
}

impl Node {
    fn new(
        url: &str,
        access: Option<&(String, String)>,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let cell = resolve_cell(url, environment);
        let cell = cell.map_err(|error| Failure::wrong(in_one_line(&error)))?;
        let url: Url = cell.text().parse().map_err(|error| {
            // The text may have a password in it.
            Failure::wrong(format!(
                "an address that is no URL: {error}; give one such as http://127.0.0.1:8080"
            ))
        })?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        let path = url.path().trim_end_matches('/');
        Ok(Self {
            name: format!("{host}:{port}{path}").into(),
            access: access.cloned(),
            url,
        })
    }

    fn http(&self) -> HttpConfig {
        let auth = match &self.access {
            None => HttpAuth::None,
            Some((user, password)) => HttpAuth::Basic {
                user: user.clone(),
                password: password.clone(),
            },
        };
        HttpConfig {
            auth,
            ..HttpConfig::new(Arc::clone(&self.name), self.url.clone())
        }
    }

    fn rpc(&self) -> RpcConfig {
        let auth = match &self.access {
            None => RpcAuth::None,
            Some((user, password)) => RpcAuth::Password {
                user: user.clone(),
                password: password.clone(),
            },
        };
        RpcConfig::new(Arc::clone(&self.name), self.url.clone(), auth)
    }

    fn source(&self, wire: Wire) -> Result<Arc<dyn ChainSource>, Failure> {
        let wrong = |error: HttpConfigError| Failure::wrong(format!("{}: {error}", self.name));
        Ok(match wire {
            Wire::Logos => Arc::new(LogosSource::new(self.http()).map_err(wrong)?),
            Wire::Bitcoin => Arc::new(BitcoinSource::new(self.rpc()).map_err(wrong)?),
        })
    }

    /// Asks what a node of each wire answers.
    async fn probe(&self) -> Result<Wire, Box<SourceError>> {
        let mut http = self.http();
        http.limits.within = PROBE_WITHIN;
        let logos = LogosHttp::new(http).expect("the address was checked");
        let Err(no_logos) = logos.info().await else {
            return Ok(Wire::Logos);
        };
        let answered =
            no_logos.is_answer() || matches!(no_logos.kind, SourceErrorKind::Unsupported);
        if !answered {
            return Err(Box::new(no_logos));
        }
        let rpc = BitcoinRpc::new(self.rpc()).expect("the address was checked");
        let answer = rpc.call_within::<Value>(PROBE_WITHIN, "getblockchaininfo", json!([]));
        let is_bitcoin = match answer.await.map_err(|error| error.kind) {
            Ok(_) => true,
            // Errors of JSON-RPC are below zero, those of HTTP above: such a node may still be starting.
            Err(SourceErrorKind::Node { code, .. }) => code < 0,
            // Who refuses everybody might be anything.
            Err(SourceErrorKind::Unauthorised { .. }) => {
                !matches!(no_logos.kind, SourceErrorKind::Unauthorised { .. })
            }
            Err(_) => false,
        };
        if is_bitcoin {
            Ok(Wire::Bitcoin)
        } else {
            Err(Box::new(no_logos))
        }
    }
}
