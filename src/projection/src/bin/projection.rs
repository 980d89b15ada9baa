//! The command: runs a node, looks into its store, and mends what does not go on by itself.
//!
//! All that it does is in the library; here are arguments, output and exit codes.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser, Subcommand};
use projection::{
    admin,
    manifest::{Projection, ProjectionManifest},
    pipeline::{Shard, ShardOptions, ShardState},
    settings::{Engine, Settings, fields},
    storage::{StoreOptions, ViewStore},
    stream::{EventSource, JetStreamSource},
    types::{TenantId, ViewId},
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Folds events of a JetStream stream into durable views.
#[derive(Parser)]
#[command(name = "projection", version)]
struct Arguments {
    /// The settings, as .yaml, .toml or .json; variables win over them.
    #[arg(long, env = "PROJECTION_SETTINGS", global = true)]
    settings: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the node until it is told to stop.
    Run,
    /// Check settings and manifest, and start nothing.
    Check,
    /// Say what can be set, and by which variables.
    Settings,
    /// Show how far each projection is, and what mends those that do not go on.
    Status {
        /// As one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Look at events that are not in the views, and decide on them.
    Quarantine {
        #[command(subcommand)]
        command: Quarantine,
    },
    /// Make the views of a projection again.
    Rebuild {
        /// Remove the views first; the node makes them again when it starts.
        #[arg(long, required = true)]
        in_place: bool,
        /// The projection, such as account or account@2.
        projection: String,
    },
    /// Go on after a gap in the history of the stream.
    AcceptGap {
        /// The projection.
        projection: String,
    },
    /// Go on with another program over the views of the old one.
    AcceptProgram {
        /// The projection.
        projection: String,
    },
}

#[derive(Subcommand)]
enum Quarantine {
    /// List the events, one a line.
    List {
        /// The projection.
        projection: String,
        /// As JSON, one document a line.
        #[arg(long)]
        json: bool,
    },
    /// Show all that is known of an event.
    Show {
        /// The projection.
        projection: String,
        /// Which event.
        sequence: u64,
    },
    /// Fold the events of a view again, in their order.
    Retry {
        /// The projection.
        projection: String,
        /// The view.
        view: String,
        /// Whose view it is.
        #[arg(long, default_value = "")]
        tenant: String,
    },
    /// Go on without an event, for ever.
    Drop {
        /// The projection.
        projection: String,
        /// Which event.
        sequence: u64,
    },
}

type Outcome = Result<ExitCode, Box<dyn Error>>;

/// For a node that ended because no projection goes on.
const BLOCKED: u8 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    match command(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(source) = cause {
                text = format!("{text}: {source}");
                cause = source.source();
            }
            let _ = writeln!(io::stderr(), "projection: {text}");
            ExitCode::FAILURE
        }
    }
}

async fn command(arguments: Arguments) -> Outcome {
    if let Command::Settings = arguments.command {
        for field in fields() {
            say(&format!(
                "{:24} {:36} {}",
                field.key, field.variable, field.about
            ))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let variables: BTreeMap<String, String> = env::vars().collect();
    let settings = Settings::load(arguments.settings.as_deref(), &variables)?;
    let manifest = ProjectionManifest::load(&settings.manifest, settings.gas_max)?;
    let node = Node { settings, manifest };
    match arguments.command {
        Command::Run => node.run().await,
        Command::Check | Command::Settings => {
            let names = node
                .manifest
                .projections()
                .iter()
                .map(|projection| projection.table.to_string());
            say(&format!(
                "settings and manifest are right: {}",
                names.collect::<Vec<_>>().join(", ")
            ))
        }
        Command::Status { json } => node.status(json).await,
        Command::Quarantine { command } => node.quarantine(command).await,
        Command::Rebuild { projection, .. } => {
            admin::rebuild_in_place(&node.owned()?, node.projection(&projection)?)?;
            say("the views are gone; the node makes them again when it starts")
        }
        Command::AcceptGap { projection } => {
            let mut source = JetStreamSource::connect(&node.settings).await?;
            let (first, last) =
                admin::accept_gap(&node.owned()?, node.projection(&projection)?, &mut source)
                    .await?;
            say(&format!(
                "events {first} to {last} will never be in the views"
            ))
        }
        Command::AcceptProgram { projection } => {
            admin::accept_program(&node.owned()?, node.projection(&projection)?)?;
            say("the node goes on with the new program")
        }
    }
}

fn say(text: &str) -> Outcome {
    writeln!(io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

struct Node {
    settings: Settings,
    manifest: ProjectionManifest,
}

impl Node {
    fn owned(&self) -> Result<ViewStore, Box<dyn Error>> {
        let options = StoreOptions {
            engine: self.settings.storage_engine,
            bytes_max: self.settings.storage_bytes_max,
            durability: self.settings.durability,
        };
        Ok(ViewStore::open(&self.settings.storage_path, options)?)
    }

    /// Beside a node that runs, where the engine can do that.
    fn readable(&self) -> Result<ViewStore, Box<dyn Error>> {
        match self.settings.storage_engine {
            Engine::Mdbx => Ok(ViewStore::open_to_read(&self.settings.storage_path)?),
            Engine::Redb => self.owned(),
        }
    }

    fn projection(&self, name: &str) -> Result<&Projection, Box<dyn Error>> {
        let found = self.manifest.find(name);
        found.ok_or_else(|| format!("there is no projection {name} in the manifest").into())
    }

    async fn run(&self) -> Outcome {
        let store = Arc::new(self.owned()?);
        let mut source = JetStreamSource::connect(&self.settings).await?;
        let shard = Shard::new(
            self.manifest.clone(),
            store,
            ShardOptions::of(&self.settings),
        );
        let stop = CancellationToken::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stopping = stop.clone();
        let signals = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping: what was folded is committed first");
            stopping.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = shard.run(&mut source, &stop) => {}
            () = signals => {}
        }
        let blocked = shard.status().borrow().state == ShardState::Blocked;
        Ok(if blocked {
            BLOCKED.into()
        } else {
            ExitCode::SUCCESS
        })
    }

    async fn status(&self, json: bool) -> Outcome {
        let store = self.readable()?;
        let mut source = JetStreamSource::connect(&self.settings).await?;
        let options = ShardOptions::of(&self.settings);
        let mut all = Vec::new();
        for projection in self.manifest.projections() {
            let snapshot = store.snapshot()?;
            let stored = snapshot.checkpoint(&projection.table)?;
            let quarantined = snapshot.records(&projection.table)?.len();
            drop(snapshot);
            let floor = stored.as_ref().map_or(0, |stored| stored.floor);
            let facts = source.facts(floor).await?;
            let blocked = options.examine(projection, &facts, stored.as_ref()).err();
            let mend = blocked
                .as_ref()
                .map(|reason| reason.mend(&projection.table));
            all.push(json!({
                "projection": projection.table.to_string(),
                "floor": floor,
                "stream_last": facts.last,
                "behind": facts.last.saturating_sub(floor),
                "quarantined": quarantined,
                "blocked": blocked.map(|reason| reason.to_string()),
                "mend": mend,
            }));
        }
        if json {
            return say(&serde_json::to_string_pretty(&all)?);
        }
        for entry in &all {
            say(&line(entry))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn quarantine(&self, command: Quarantine) -> Outcome {
        match command {
            Quarantine::List { projection, json } => {
                let records = self
                    .readable()?
                    .snapshot()?
                    .records(&self.projection(&projection)?.table)?;
                for (key, record) in records {
                    let view = record.view.as_ref().map_or("-", ViewId::as_str);
                    say(&if json {
                        json!({"sequence": key.sequence, "record": record}).to_string()
                    } else {
                        format!(
                            "{:>10} {:?} {view} {}",
                            key.sequence, record.fault, record.reason
                        )
                    })?;
                }
                Ok(ExitCode::SUCCESS)
            }
            Quarantine::Show {
                projection,
                sequence,
            } => {
                let records = self
                    .readable()?
                    .snapshot()?
                    .records(&self.projection(&projection)?.table)?;
                let found: Vec<_> = records
                    .iter()
                    .filter(|(key, _)| key.sequence == sequence)
                    .collect();
                if found.is_empty() {
                    return Err(format!("event {sequence} is not in quarantine").into());
                }
                for (_, record) in found {
                    say(&serde_json::to_string_pretty(record)?)?;
                }
                Ok(ExitCode::SUCCESS)
            }
            Quarantine::Retry {
                projection,
                view,
                tenant,
            } => {
                let tenant = TenantId::from(tenant);
                let projection = self.projection(&projection)?;
                let retried =
                    admin::retry(&self.owned()?, projection, tenant.as_str(), &view.into())?;
                say(&format!("{} events are in the view now", retried.applied))?;
                match retried.stuck {
                    None => Ok(ExitCode::SUCCESS),
                    Some((sequence, reason)) => {
                        Err(format!("event {sequence} still cannot be applied: {reason}").into())
                    }
                }
            }
            Quarantine::Drop {
                projection,
                sequence,
            } => self.drop_event(&projection, sequence).await,
        }
    }

    async fn drop_event(&self, projection: &str, sequence: u64) -> Outcome {
        let projection = self.projection(projection)?;
        let store = self.owned()?;
        let stored = store.snapshot()?.checkpoint(&projection.table)?;
        if stored.is_some_and(|stored| sequence <= stored.floor) {
            admin::drop_record(&store, projection, sequence)?;
        } else {
            let mut source = JetStreamSource::connect(&self.settings).await?;
            let options = ShardOptions::of(&self.settings);
            admin::drop_halted(&store, projection, &options, &mut source, sequence).await?;
        }
        say(&format!(
            "event {sequence} will never be in the views of {}",
            projection.table
        ))
    }
}

fn line(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let head = format!(
        "{}: at {} of {}, {} behind, {} in quarantine",
        text("projection"),
        entry["floor"],
        entry["stream_last"],
        entry["behind"],
        entry["quarantined"]
    );
    match entry["blocked"].as_str() {
        None => head,
        Some(reason) => format!("{head}\n  blocked: {reason}\n  mend: {}", text("mend")),
    }
}
