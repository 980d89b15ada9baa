//! `query`: asks for views, of the store in its folder beside whoever owns it, or of a node over HTTP.

use std::{
    error::Error,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use serde_json::{Value, json};

use super::{
    Outcome,
    node::{Node, Place},
    say,
};
use crate::{
    query::{CursorKey, QueryEngine},
    types::TenantId,
};

/// Ask for views, of the store in its folder or of a node over HTTP.
#[derive(Args)]
pub(super) struct Query {
    /// The type of the views, such as account; or one generation of it, such as account@2.
    view: String,
    /// Only the view with this id.
    #[arg(long)]
    id: Option<String>,
    /// Which views, such as '{"balance": {"gte": 10}}'.
    #[arg(long)]
    filter: Option<String>,
    /// By which members, such as balance:desc,owner.name.
    #[arg(long, value_delimiter = ',')]
    sort: Vec<String>,
    /// Which members to show; all by default.
    #[arg(long, value_delimiter = ',')]
    fields: Vec<String>,
    /// How many views at once.
    #[arg(long)]
    limit: Option<u64>,
    /// Where an answer before ended.
    #[arg(long, conflicts_with = "all")]
    cursor: Option<String>,
    /// Go on until there are no more.
    #[arg(long)]
    all: bool,
    /// The event that must be in the views; a node is given time to get there.
    #[arg(long)]
    min_seq: Option<u64>,
    /// Say how the answer was found.
    #[arg(long)]
    explain: bool,
    /// Whose views; of a node, its token says that.
    #[arg(long, conflicts_with = "url")]
    tenant: Option<String>,
    /// Ask the node that is there, such as http://127.0.0.1:8090.
    #[arg(long)]
    url: Option<String>,
    /// The file of the token that the node wants.
    #[arg(long, requires = "url")]
    token_file: Option<PathBuf>,
    /// Show answers as they are, a document each.
    #[arg(long)]
    json: bool,
}

impl Query {
    pub(super) async fn run(self, place: Place<'_>) -> Outcome {
        let asked = match &self.url {
            Some(url) => Asked::Node {
                url: format!("{}/v1/query", url.trim_end_matches('/')),
                token: self.token_file.as_deref().map(token).transpose()?,
                client: reqwest::Client::new(),
            },
            None => Asked::folder(&Node::of_shard(place)?, self.tenant.as_deref())?,
        };
        let mut query = self.query()?;
        loop {
            let answer = asked.answer(&query).await?;
            self.show(&answer)?;
            match answer.get("next_cursor") {
                Some(cursor) if self.all => query["cursor"] = cursor.clone(),
                _ => return Ok(ExitCode::SUCCESS),
            }
        }
    }

    fn query(&self) -> Result<Value, Box<dyn Error>> {
        let mut filters = Vec::new();
        if let Some(id) = &self.id {
            filters.push(json!({ "$id": id }));
        }
        if let Some(filter) = &self.filter {
            let filter: Value = serde_json::from_str(filter)
                .map_err(|error| format!("--filter is no JSON: {error}"))?;
            filters.push(filter);
        }
        let mut query = json!({"view": self.view});
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                query[name] = value;
            }
        };
        // One filter is sent as it is, so that what is wrong with it is named as it was written.
        let filter = match &mut filters[..] {
            [] => None,
            [one] => Some(one.take()),
            _ => Some(json!({ "and": filters })),
        };
        put("filter", filter);
        put(
            "sort",
            (!self.sort.is_empty()).then(|| self.sort.iter().map(|key| sort(key)).collect()),
        );
        put(
            "fields",
            (!self.fields.is_empty()).then(|| json!(self.fields)),
        );
        put("limit", self.limit.map(Value::from));
        put("cursor", self.cursor.clone().map(Value::from));
        put(
            "consistency",
            self.min_seq.map(|min_seq| json!({ "min_seq": min_seq })),
        );
        put("explain", self.explain.then_some(Value::Bool(true)));
        Ok(query)
    }

    fn show(&self, answer: &Value) -> Outcome {
        if self.json {
            return say(&answer.to_string());
        }
        for row in answer["rows"].as_array().into_iter().flatten() {
            let stale = if row["stale"] == true {
                "  (stale)"
            } else {
                ""
            };
            let id = row["id"].as_str().unwrap_or_default();
            say(&format!("{id}\t{}{stale}", row["view"]))?;
        }
        // Beside the rows, so that they can be piped on.
        let mut beside = io::stderr();
        if let Some(plan) = answer.get("explain") {
            writeln!(beside, "{plan}")?;
        }
        let looked = &answer["scanned"]["rows"];
        writeln!(
            beside,
            "at event {}, {looked} views looked at",
            answer["checkpoint"]
        )?;
        if answer["partial"] == true {
            writeln!(beside, "the budget was spent before all was looked at")?;
        }
        if let (Some(cursor), false) = (answer["next_cursor"].as_str(), self.all) {
            writeln!(beside, "more: --cursor {cursor}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `balance:desc` as it is in a query.
fn sort(key: &str) -> Value {
    match key.rsplit_once(':') {
        Some((field, dir)) => json!({"field": field, "dir": dir}),
        None => json!({ "field": key }),
    }
}

fn token(file: &Path) -> Result<String, Box<dyn Error>> {
    let text = fs::read_to_string(file);
    let text = text.map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    Ok(text.trim().to_owned())
}

/// Who is asked.
enum Asked {
    Folder {
        engine: QueryEngine,
        tenant: TenantId,
    },
    Node {
        url: String,
        token: Option<String>,
        client: reqwest::Client,
    },
}

impl Asked {
    fn folder(node: &Node, tenant: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let settings = &node.settings;
        // Whoever can read the folder can read all of it, so a cursor need only be told from that of another folder.
        let path = settings.storage_path.to_string_lossy();
        let secret = settings.query_cursor_secret.as_ref();
        let key = CursorKey::of_secret(secret.map_or(&path, |secret| secret.expose()));
        let store = Arc::new(node.readable()?);
        let manifest = node.manifest.clone();
        Ok(Self::Folder {
            engine: QueryEngine::new(manifest, store, settings.query_limits, key),
            tenant: tenant.map_or_else(|| settings.default_tenant.clone(), TenantId::from),
        })
    }

    async fn answer(&self, query: &Value) -> Result<Value, Box<dyn Error>> {
        match self {
            Self::Folder { engine, tenant } => {
                let query = crate::query::Query::from_value(query)?;
                let answer = engine.query(tenant, &query).await?;
                Ok(serde_json::to_value(answer)?)
            }
            Self::Node { url, token, client } => {
                let mut request = client.post(url).json(query);
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                let response = request.send().await?;
                let status = response.status();
                let answer: Value = response.json().await?;
                if status.is_success() {
                    return Ok(answer);
                }
                let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
                Err(format!("{} ({status}, {})", text("message"), text("code")).into())
            }
        }
    }
}
