//! The fleet: the nodes that share the shards of a stream, asked by whoever does not know which of them has which.
//!
//! Any node that answers will do, since each passes on what is for another one. When none answers, the bucket of leases tells where the owners are.

use std::{
    env,
    error::Error,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::Method;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::{
    node::{Node, Place},
    remote::Remote,
};
use crate::{
    lease::{LeaseBoard, NatsBoard, survey},
    rebuild::http::{self, RemoteError},
    settings::{Secret, Settings},
    shards::ShardId,
};

/// How long a node may take to say anything at all.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Who owns what, as any node tells that shares shards.
const SHARDS: &str = "/v1/shards";
/// What an operator comes with who has no settings.
const OPERATOR_TOKEN: &str = "PROJECTION_OPERATOR_TOKEN";
/// How long to wait before all are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Nodes that run.
pub(super) struct Fleet {
    settings: Settings,
    /// Where nodes answer, as far as is known; the one that answered last is the first.
    known: Mutex<Vec<String>>,
    /// Whether their shards are below a path of their own.
    has_shards: bool,
    /// How long a shard may be without anybody who answers for it.
    patience: Duration,
}

/// Why nobody did what was asked.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// Nobody answers for the shard, as a node says that does answer.
    Away(String),
    /// No node answers at all.
    Unreached(String),
    /// Its owner does not do it.
    Refused(String),
}

/// What a node says of a shard.
#[derive(Deserialize)]
struct Shared {
    owner: Option<Sharer>,
}

#[derive(Deserialize)]
struct Sharer {
    address: Option<String>,
}

impl Fleet {
    /// The nodes of `node`: the one at `url`, or else where it has noted that it answers, and whoever has leases.
    pub(super) async fn find(
        node: &Node,
        url: Option<&str>,
        patience: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let found = node.whole(url, ANSWERS_WITHIN);
        let known = match found {
            Ok(remote) => vec![remote.url().to_owned()],
            // Others are asked for by the leases.
            Err(_) if url.is_none() && node.settings.leases.is_some() => Vec::new(),
            Err(error) => return Err(error),
        };
        let fleet = Self {
            settings: node.settings.clone(),
            known: Mutex::new(known),
            has_shards: node.has_shards(),
            patience,
        };
        if fleet.has_shards {
            fleet.learn().await?;
        }
        Ok(fleet)
    }

    /// The nodes that the one at `url` knows, and the shards that are meant (`None` where there is one only). Whoever names a node needs no settings: what is to be known of it, it says.
    pub(super) async fn at(
        place: Place<'_>,
        url: &str,
        patience: Duration,
    ) -> Result<(Self, Vec<Option<ShardId>>), Box<dyn Error>> {
        match Node::load(place) {
            Ok(node) => {
                let fleet = Self::find(&node, Some(url), patience).await?;
                Ok((fleet, node.shards(place)?))
            }
            Err(_) if place.file.is_none() => Self::elsewhere(place.shard, url, patience).await,
            Err(error) => Err(error),
        }
    }

    async fn elsewhere(
        shard: Option<ShardId>,
        url: &str,
        patience: Duration,
    ) -> Result<(Self, Vec<Option<ShardId>>), Box<dyn Error>> {
        let settings = Settings {
            operator_token: env::var(OPERATOR_TOKEN).ok().as_deref().map(Secret::from),
            ..Settings::default()
        };
        let remote = Remote::at(url, settings.operator_token.as_ref(), ANSWERS_WITHIN)?;
        let (status, answer) = remote.ask(Method::GET, SHARDS).await?;
        let shared: Option<Vec<Shared>> = match status.as_u16() {
            404 => None,
            200..300 => Some(serde_json::from_value(answer)?),
            _ => {
                let message = answer["message"].as_str();
                let message = message.unwrap_or("is that a projection node?");
                return Err(format!("{url}{SHARDS} answers {status}: {message}").into());
            }
        };
        let count = shared.as_ref().map_or(1, Vec::len);
        let count = u32::try_from(count)?;
        if shard.is_some_and(|shard| shard.number() >= count) {
            return Err(format!("there are {count} shards, from 0").into());
        }
        let shards = match (&shared, shard) {
            (None, _) => vec![None],
            (Some(_), Some(shard)) => vec![Some(shard)],
            (Some(_), None) => (0..count).map(|number| Some(number.into())).collect(),
        };
        let fleet = Self {
            settings,
            known: Mutex::new(vec![remote.url().to_owned()]),
            has_shards: shared.is_some(),
            patience,
        };
        let owners = shared.into_iter().flatten();
        fleet.also(owners.filter_map(|shared| shared.owner?.address));
        Ok((fleet, shards))
    }

    fn bases(&self) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    fn first(&self, base: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|other| other != base);
        known.insert(0, base.to_owned());
    }

    fn also(&self, bases: impl IntoIterator<Item = String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for base in bases {
            let base = base.trim_end_matches('/').to_owned();
            if !known.contains(&base) {
                known.push(base);
            }
        }
    }

    /// Learns from the first node that answers, and from the leases, where the others are.
    async fn learn(&self) -> Result<(), Box<dyn Error>> {
        for base in self.bases() {
            let remote = Remote::at(&base, self.operator(), ANSWERS_WITHIN)?;
            let Ok(shared) = remote.get::<Vec<Shared>>(Method::GET, SHARDS).await else {
                continue;
            };
            let count = self.settings.shards;
            if shared.len() != count as usize {
                let other = shared.len();
                return Err(format!(
                    "the node at {base} has {other} shards, and these settings say {count}"
                )
                .into());
            }
            let owners = shared
                .into_iter()
                .filter_map(|shared| shared.owner?.address);
            self.also(owners);
            return Ok(());
        }
        self.ask_leases().await;
        Ok(())
    }

    /// Learns from the bucket of leases, where there is one that answers.
    async fn ask_leases(&self) {
        let settings = &self.settings;
        let Some(bucket) = &settings.leases else {
            return;
        };
        let Ok(board) = NatsBoard::connect(&settings.nats_url, bucket).await else {
            return;
        };
        if let Ok(posted) = board.read().await {
            let owners = survey(settings.shards, &posted);
            self.also(
                owners
                    .into_values()
                    .filter_map(|owner| owner.member.address),
            );
        }
    }

    fn operator(&self) -> Option<&Secret> {
        self.settings.operator_token.as_ref()
    }

    fn path(&self, shard: ShardId) -> String {
        if self.has_shards {
            format!("/shards/{shard}")
        } else {
            String::new()
        }
    }

    /// Asks the owner of `shard` for rebuilds, until somebody answers for it.
    pub(super) async fn rebuilds<T>(
        &self,
        shard: ShardId,
        ask: impl AsyncFn(http::Remote) -> Result<T, RemoteError>,
    ) -> Result<T, Unanswered> {
        let path = self.path(shard);
        self.until_answered(async |base| {
            match ask(http::Remote::at(&format!("{base}{path}")).as_operator(self.operator())).await
            {
                Ok(answer) => Ok(answer),
                Err(RemoteError::Refused { message }) => Err(Unanswered::Refused(message)),
                Err(RemoteError::Away { message }) => Err(Unanswered::Away(message)),
                Err(error) => Err(Unanswered::Unreached(super::with_causes(&error))),
            }
        })
        .await
    }

    /// What the owner of `shard` answers to `method` at `path`, until somebody answers for it.
    pub(super) async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        shard: ShardId,
        method: Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Result<T, Unanswered> {
        let below = self.path(shard);
        self.until_answered(async |base| {
            let away = |error: Box<dyn Error>| Unanswered::Unreached(error.to_string());
            let remote = Remote::at(&base, self.operator(), ANSWERS_WITHIN).map_err(away)?;
            let path = format!("{below}{path}");
            let asked = remote.send(method.clone(), &path, body.as_ref()).await;
            let (status, answer) = asked.map_err(away)?;
            let message = || {
                let message = answer["message"].as_str();
                message.map_or_else(|| format!("{base}{path} answers {status}"), str::to_owned)
            };
            match status.as_u16() {
                200..300 => serde_json::from_value(answer)
                    .map_err(|error| Unanswered::Refused(error.to_string())),
                421 | 503 => Err(Unanswered::Away(message())),
                _ => Err(Unanswered::Refused(message())),
            }
        })
        .await
    }

    async fn until_answered<T>(
        &self,
        ask: impl AsyncFn(String) -> Result<T, Unanswered>,
    ) -> Result<T, Unanswered> {
        let begun = Instant::now();
        let mut last = Unanswered::Unreached("no node is known".to_owned());
        loop {
            for base in self.bases() {
                match ask(base.clone()).await {
                    Err(away @ Unanswered::Away(_)) => last = away,
                    // A node that answers knows more.
                    Err(unreached @ Unanswered::Unreached(_)) => {
                        if matches!(last, Unanswered::Unreached(_)) {
                            last = unreached;
                        }
                    }
                    answered => {
                        self.first(&base);
                        return answered;
                    }
                }
            }
            if begun.elapsed() >= self.patience {
                return Err(last);
            }
            self.ask_leases().await;
            sleep(ASK_AGAIN).await;
        }
    }
}
