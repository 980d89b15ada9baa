//! `rebuild`, `cutover`, `rollback` and `retire`: new generations of views. A node that runs is asked by HTTP; where none runs, it is done here.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Outcome, node::Node, say};
use crate::{
    rebuild::{
        Command, Done, JetStreamSources, Node as RebuildNode, NodeMode, Phase, Progress, http,
    },
    storage::{StorageError, ViewStore},
    types::{Scope, TenantId},
};

/// How long a node may take to say anything at all.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(500);

/// How it is asked, and how it answers.
#[derive(Args)]
pub(super) struct Asking {
    /// Where the node answers that runs on the store; as its settings say, unless given.
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// As JSON, one document a line.
    #[arg(long)]
    json: bool,
    /// Do not wait until it is over, where a node runs.
    #[arg(long)]
    detach: bool,
}

/// Make the views of a projection again, beside those that are served.
#[derive(Args)]
pub(super) struct Rebuild {
    /// Remove the views first; queries see incomplete ones until they are made again.
    #[arg(long, conflicts_with_all = ["tenant", "view", "from"])]
    in_place: bool,
    /// Only the views of this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only this view.
    #[arg(long)]
    view: Option<String>,
    /// The first event that they are made of, where the stream does not have all any more.
    #[arg(long, conflicts_with_all = ["tenant", "view"])]
    from: Option<u64>,
    /// The projection, such as account.
    projection: String,
    #[command(flatten)]
    asking: Asking,
}

/// Serve another generation, now.
#[derive(Args)]
pub(super) struct Cutover {
    /// The projection, or one generation of it such as account@2.
    projection: String,
    #[command(flatten)]
    asking: Asking,
}

/// Serve again what was served before.
#[derive(Args)]
pub(super) struct Rollback {
    /// The projection.
    projection: String,
    #[command(flatten)]
    asking: Asking,
}

/// Give a generation up, and clear it.
#[derive(Args)]
pub(super) struct Retire {
    /// The generation, such as account@1.
    generation: String,
    #[command(flatten)]
    asking: Asking,
}

impl Rebuild {
    pub(super) async fn run(self, node: Node) -> Outcome {
        let default_tenant = node.settings.default_tenant.clone();
        let scope = scope(self.tenant, self.view, default_tenant);
        let projection = self.projection;
        let command = match scope {
            Some(scope) => Command::RebuildPart { projection, scope },
            None if self.in_place => Command::RebuildInPlace { projection },
            None => Command::Rebuild {
                projection,
                from: self.from.unwrap_or(1),
            },
        };
        self.asking.run(node, command).await
    }
}

fn scope(tenant: Option<String>, view: Option<String>, default: TenantId) -> Option<Scope> {
    let named = tenant.map(TenantId::from);
    match (named, view) {
        (None, None) => None,
        (Some(tenant), None) => Some(Scope::Tenant { tenant }),
        (tenant, Some(id)) => Some(Scope::View {
            tenant: tenant.unwrap_or(default),
            id: id.into(),
        }),
    }
}

impl Cutover {
    pub(super) async fn run(self, node: Node) -> Outcome {
        let projection = self.projection;
        self.asking.run(node, Command::Cutover { projection }).await
    }
}

impl Rollback {
    pub(super) async fn run(self, node: Node) -> Outcome {
        let projection = self.projection;
        self.asking
            .run(node, Command::Rollback { projection })
            .await
    }
}

impl Retire {
    pub(super) async fn run(self, node: Node) -> Outcome {
        let generation = self.generation;
        self.asking.run(node, Command::Retire { generation }).await
    }
}

impl Asking {
    async fn run(self, node: Node, command: Command) -> Outcome {
        let folder = &node.settings.storage_path;
        if !folder.exists() {
            let folder = folder.display();
            return Err(format!(
                "there is no store in {folder}: ask the node that has it (--node), which \"projection shards\" tells where there are several"
            )
            .into());
        }
        match node.owned() {
            Ok(store) => self.here(node, store, command).await,
            Err(error) => match error.downcast_ref() {
                Some(StorageError::Owned { .. }) => self.there(&node, &command).await,
                _ => Err(error),
            },
        }
    }

    /// On the store itself, since no node runs on it.
    async fn here(self, node: Node, store: ViewStore, command: Command) -> Outcome {
        let sources = Arc::new(JetStreamSources::new(&node.settings));
        let options = node.options();
        let (job, handle) = RebuildNode::new(
            node.manifest,
            Arc::new(store),
            sources,
            &node.settings,
            NodeMode::Job,
        );
        let job = job.with_shard_options(options);
        let stop = CancellationToken::new();
        let mut progress = handle.progress();
        let showing = async {
            let mut ticks = interval(SHOWN_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let all = progress.borrow_and_update().clone();
                all.iter()
                    .filter(|one| !one.phase.is_over())
                    .for_each(|one| self.show(one));
            }
        };
        let working = async { tokio::join!(job.run(&stop), handle.ask(command)) };
        let (ended, done) = tokio::select! {
            both = working => both,
            () = showing => unreachable!("it goes on until the work is done"),
        };
        let done = done?;
        ended?;
        let last = handle.progress().borrow().clone();
        let last = last
            .into_iter()
            .rfind(|one| one.generation == done.generation);
        self.end(&done, last.filter(|_| done.goes_on))
    }

    /// By the node that runs.
    async fn there(self, node: &Node, command: &Command) -> Outcome {
        let remote = node.remote(self.node.as_deref(), ANSWERS_WITHIN)?;
        let remote = http::Remote::at(remote.url());
        let done = remote.ask(command).await?;
        if self.detach || !done.goes_on {
            return self.end(&done, None);
        }
        let mut ticks = interval(SHOWN_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let all = remote.show().await?.progress;
            // What was served is kept going as well, and then it is there twice.
            let of_it = || all.iter().filter(|one| one.generation == done.generation);
            let over = of_it().find(|one| one.phase.is_over());
            match over.or_else(|| of_it().next()) {
                Some(one) if one.phase.is_over() => return self.end(&done, Some(one.clone())),
                Some(one) => self.show(one),
                // It was cleared to its end.
                None => return self.end(&done, None),
            }
        }
    }

    fn show(&self, progress: &Progress) {
        let mut out = io::stderr();
        let _ = if self.json {
            writeln!(
                out,
                "{}",
                serde_json::to_string(progress).unwrap_or_default()
            )
        } else if out.is_terminal() {
            // One line that changes.
            write!(out, "\r\x1b[2K{progress}")
        } else {
            writeln!(out, "{progress}")
        };
    }

    fn end(&self, done: &Done, last: Option<Progress>) -> Outcome {
        if !self.json && io::stderr().is_terminal() {
            let _ = writeln!(io::stderr());
        }
        let failed = last.as_ref().and_then(|last| match &last.phase {
            Phase::Failed { why } => Some(why.clone()),
            _ => None,
        });
        if self.json {
            say(&serde_json::json!({ "done": done, "progress": last }).to_string())?;
        } else if let Some(last) = &last {
            say(&last.to_string())?;
        } else {
            say(&format!("{} {}", done.generation, done.what))?;
        }
        match failed {
            None => Ok(ExitCode::SUCCESS),
            Some(why) => Err(why.into()),
        }
    }
}
