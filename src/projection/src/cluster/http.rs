//! Queries to any node of several: each goes to the owners of the shards that it is about.
//!
//! `GET /v1/views/{type}/{id}` goes to the shard of the view, or to all where an id does not tell. `POST /v1/query` goes to all, and their answers are merged.
//! `/v1/shards/{shard}/..` asks this node and no other: who is not the owner says where that is (421). `GET /v1/shards` tells who owns what.
//!
//! Below `/shards/{shard}` is what a node of one shard answers to operators: see `operate`.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::{StreamExt, future::try_join_all, stream::FuturesUnordered};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ClusterView,
    ask::{Answered, Asker, Question},
    operate,
};
use crate::{
    http::ApiError,
    query::{
        LIMIT, Query, QueryLimits, Row,
        http::{Authority, Refusal},
        merge::{self, Place},
    },
    shards::ShardId,
};

/// The largest query that is read.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The routes of a node of several shards, in place of those of one store.
pub fn routes(view: ClusterView, authority: Authority, limits: QueryLimits) -> Router {
    Router::new()
        .route("/v1/query", post(query))
        .route("/v1/views/{view}/{id}", get(view_of_any))
        .route("/v1/shards", get(shards))
        .route("/v1/shards/{shard}/query", post(here))
        .route("/v1/shards/{shard}/views/{view}/{id}", get(here))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Asked {
            asker: Asker::new(view.clone(), authority, limits),
            limits,
        })
        .merge(operate::routes(view))
}

#[derive(Clone)]
struct Asked {
    asker: Asker,
    limits: QueryLimits,
}

/// Answers for a shard that this node owns.
async fn here(
    State(asked): State<Asked>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Answered, ApiError> {
    let path = path_of(&uri);
    let rest = path.strip_prefix("/v1/shards/").unwrap_or_default();
    let (shard, rest) = rest.split_once('/').unwrap_or_default();
    let shard: ShardId = shard
        .parse()
        .map_err(|_| ApiError::not_found("a shard has a number"))?;
    let question = Question {
        method,
        path: format!("/v1/{rest}"),
        headers,
        body,
    };
    asked.asker.ask_here(shard, question).await
}

fn path_of(uri: &Uri) -> String {
    uri.path_and_query()
        .map_or_else(String::new, ToString::to_string)
}

async fn view_of_any(
    State(asked): State<Asked>,
    uri: Uri,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let tenant = asked.asker.authority().tenant(&headers)?;
    let question = Question {
        method: Method::GET,
        path: path_of(&uri),
        headers,
        body: Bytes::new(),
    };
    let shards = asked.asker.view().shards_of(&tenant, &id);
    // Whoever has the view answers for all: another shard may wait for an event that it never gets.
    let mut asking: FuturesUnordered<_> = shards
        .iter()
        .map(|shard| asked.asker.ask(*shard, question.clone()))
        .collect();
    let mut missing = None;
    let mut failed = None;
    while let Some(answer) = asking.next().await {
        match answer {
            Ok(answer) if answer.status.is_success() => return Ok(answer.into_response()),
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => missing = Some(answer),
            Ok(answer) => failed = Some(Ok(answer)),
            Err(error) => failed = Some(Err(error)),
        }
    }
    // It is nowhere only if all shards said so.
    match (failed, missing) {
        (Some(Ok(answer)), _) | (None, Some(answer)) => Ok(answer.into_response()),
        (Some(Err(error)), _) => Err(error.into()),
        (None, None) => Err(ApiError::internal("there are no shards").into()),
    }
}

async fn query(
    State(asked): State<Asked>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    // Before anything is said about the query.
    asked.asker.authority().tenant(&headers)?;
    let query = Query::from_json(&body)?;
    let mut members: Value = serde_json::from_slice(&body).expect("it was read just now");
    let limit = query.limit().unwrap_or(LIMIT.min(asked.limits.limit_max));
    members["limit"] = json!(limit);
    if let Some(members) = members.as_object_mut() {
        // Chosen when the answers are merged: what is sorted by need not be shown.
        members.remove("fields");
        members.remove("cursor");
    }
    let shards: Vec<_> = asked.asker.view().layout().ids().collect();
    let fan = Fan {
        asked: &asked,
        headers,
        members,
        places: merge::read(query.cursor(), shards.len())?,
        shards,
    };
    fan.answer(&query, limit).await
}

/// One query to all shards.
struct Fan<'a> {
    asked: &'a Asked,
    headers: HeaderMap,
    members: Value,
    shards: Vec<ShardId>,
    places: Vec<Place>,
}

/// What is read of the answer of a shard.
#[derive(Deserialize)]
struct Part {
    rows: Vec<Row>,
    #[serde(default)]
    partial: bool,
    next_cursor: Option<String>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

impl Part {
    fn place(&self) -> Place {
        self.next_cursor.clone().map_or(Place::End, Place::Behind)
    }
}

impl Fan<'_> {
    async fn answer(self, query: &Query, limit: usize) -> Result<Response, Refusal> {
        let asking = self.shards.iter().map(|shard| self.ask(*shard, limit));
        let mut parts = match try_join_all(asking).await {
            Ok(parts) => parts,
            Err(refused) => return refused,
        };
        let all = self.shards.iter().zip(&parts);
        let all = all.filter_map(|(shard, part)| Some((*shard, part.as_ref()?.rows.clone())));
        let mut shown = query.merged(all.collect());
        shown.truncate(limit);
        // Of a shard of which not all is shown, exactly that much is asked again, so that its own cursor says where to go on.
        let counts: Vec<_> = self
            .shards
            .iter()
            .map(|shard| shown.iter().filter(|(of, _)| of == shard).count())
            .collect();
        let mut places = self.places.clone();
        for ((shard, part), (count, place)) in self
            .shards
            .iter()
            .zip(&mut parts)
            .zip(counts.iter().zip(&mut places))
        {
            let Some(found) = part else { continue };
            if *count == found.rows.len() {
                *place = found.place();
            } else if *count > 0 {
                match self.ask(*shard, *count).await {
                    Ok(again) => *part = again,
                    Err(refused) => return refused,
                }
                *place = part.as_ref().map_or(Place::End, Part::place);
            } else {
                found.rows.clear();
            }
        }
        let rows = self
            .shards
            .iter()
            .zip(&mut parts)
            .filter_map(|(shard, part)| Some((*shard, std::mem::take(&mut part.as_mut()?.rows))));
        let rows = query.merged(rows.collect());
        let rows: Vec<_> = rows.into_iter().map(|(_, row)| query.shown(row)).collect();
        Ok(Json(whole(&rows, &parts, &places)).into_response())
    }

    /// The answer of one shard, or what is answered in its place; `None` where it has nothing more.
    async fn ask(
        &self,
        shard: ShardId,
        limit: usize,
    ) -> Result<Option<Part>, Result<Response, Refusal>> {
        let mut members = self.members.clone();
        members["limit"] = json!(limit);
        match &self.places[shard.number() as usize] {
            Place::Begin => {}
            Place::Behind(cursor) => members["cursor"] = json!(cursor),
            Place::End => return Ok(None),
        }
        let question = Question {
            method: Method::POST,
            path: "/v1/query".to_owned(),
            headers: self.authorization(),
            body: members.to_string().into(),
        };
        let answer = self.asked.asker.ask(shard, question).await;
        let answer = answer.map_err(|error| Err(error.into()))?;
        if !answer.status.is_success() {
            return Err(Ok(answer.into_response()));
        }
        let part = serde_json::from_slice(&answer.body);
        part.map(Some).map_err(|error| {
            let message = format!("shard {shard} gave an answer that cannot be read: {error}");
            Err(ApiError::internal(message).into())
        })
    }

    fn authorization(&self) -> HeaderMap {
        let token = self.headers.get(header::AUTHORIZATION).cloned();
        token
            .map(|token| (header::AUTHORIZATION, token))
            .into_iter()
            .collect()
    }
}

/// What is true of all shards together: as old as the oldest, as expensive as all.
fn whole(rows: &[Row], parts: &[Option<Part>], places: &[Place]) -> Value {
    let of = |name: &'static str| {
        parts
            .iter()
            .flatten()
            .filter_map(move |part| part.rest.get(name))
    };
    let number = |name| of(name).filter_map(Value::as_u64);
    let scanned = |name: &str| -> u64 {
        of("scanned")
            .filter_map(|scanned| scanned[name].as_u64())
            .sum()
    };
    let mut whole = json!({
        "rows": rows,
        "partial": parts.iter().flatten().any(|part| part.partial),
        "scanned": {"rows": scanned("rows"), "bytes": scanned("bytes")},
        "checkpoint": number("checkpoint").min().unwrap_or_default(),
    });
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            whole[name] = value;
        }
    };
    put("next_cursor", merge::write(places).map(Value::from));
    put("lag", number("lag").max().map(Value::from));
    put("rebuilding", number("rebuilding").max().map(Value::from));
    put("explain", of("explain").next().cloned());
    whole
}

async fn shards(State(asked): State<Asked>) -> Json<Value> {
    let view = asked.asker.view();
    let (owners, hosted) = (view.owners(), view.hosted());
    let (owners, hosted) = (owners.borrow(), hosted.borrow());
    let shards = view.layout().ids().map(|shard| {
        let here = hosted.get(&shard);
        let state = here.map(|hosted| format!("{:?}", hosted.status.borrow().state));
        json!({"shard": shard, "owner": owners.get(&shard), "here": here.is_some(), "state": state})
    });
    Json(shards.collect())
}
