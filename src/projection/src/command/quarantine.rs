//! `quarantine`: events that are not in the views, and what is to become of them.

use std::{error::Error, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use reqwest::Method;

use super::{
    Outcome,
    node::Node,
    remote::{Remote, in_path},
    say,
};
use crate::{
    admin::Retried,
    http::quarantine::{Listed, RetryView, drop_at_rest, retry_at_rest},
    storage::{StorageError, ViewStore},
    types::ViewId,
};

/// A node holds still for as long as it is changed, and its last commit ends first.
const ANSWERS_WITHIN: Duration = Duration::from_secs(40);

/// Look at events that are not in the views, and decide on them.
#[derive(Args)]
pub(super) struct Quarantine {
    /// Ask the node that answers there. Without it the store is used, or the node that owns it.
    #[arg(long, global = true)]
    url: Option<String>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the events, one a line.
    #[command(visible_alias = "ls")]
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

impl Quarantine {
    pub(super) async fn run(self, node: &Node) -> Outcome {
        let place = Place::find(node, self.url.as_deref(), self.action.changes())?;
        match self.action {
            Action::List { projection, json } => place.list(&projection, json).await,
            Action::Show {
                projection,
                sequence,
            } => place.show(&projection, sequence).await,
            Action::Retry {
                projection,
                view,
                tenant,
            } => place.retry(&projection, RetryView { view, tenant }).await,
            Action::Drop {
                projection,
                sequence,
            } => place.drop_event(&projection, sequence).await,
        }
    }
}

impl Action {
    fn changes(&self) -> bool {
        matches!(self, Self::Retry { .. } | Self::Drop { .. })
    }
}

/// Where quarantine is looked into.
enum Place<'n> {
    /// A store that no node runs on, or that is only read.
    Folder(&'n Node, ViewStore),
    /// A node that runs.
    Remote(Remote),
}

impl<'n> Place<'n> {
    /// The node at `url`; else the store, or the node that owns it.
    fn find(node: &'n Node, url: Option<&str>, changes: bool) -> Result<Self, Box<dyn Error>> {
        if url.is_some() {
            return Ok(Self::Remote(node.remote(url, ANSWERS_WITHIN)?));
        }
        let store = if changes {
            node.owned()
        } else {
            node.readable()
        };
        match store {
            Ok(store) => Ok(Self::Folder(node, store)),
            Err(error) if is_owned(&*error) => {
                let remote = node.remote(None, ANSWERS_WITHIN).map_err(|_| error)?;
                Ok(Self::Remote(remote))
            }
            Err(error) => Err(error),
        }
    }

    async fn listed(&self, name: &str) -> Result<Vec<Listed>, Box<dyn Error>> {
        match self {
            Self::Folder(node, store) => {
                let table = node.meant(store, name)?.table;
                let records = store.snapshot()?.records(&table)?;
                let listed = records.into_iter().map(|(key, record)| Listed {
                    sequence: key.sequence,
                    record,
                });
                Ok(listed.collect())
            }
            Self::Remote(remote) => {
                let path = format!("/quarantine/{}", in_path(name));
                remote.get(Method::GET, &path).await
            }
        }
    }

    async fn list(&self, projection: &str, json: bool) -> Outcome {
        for listed in self.listed(projection).await? {
            let record = &listed.record;
            let view = record.view.as_ref().map_or("-", ViewId::as_str);
            say(&if json {
                serde_json::to_string(&listed)?
            } else {
                format!(
                    "{:>10} {} {view} {}",
                    listed.sequence,
                    record.fault.name(),
                    record.reason
                )
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn show(&self, projection: &str, sequence: u64) -> Outcome {
        let mut listed = self.listed(projection).await?;
        listed.retain(|listed| listed.sequence == sequence);
        if listed.is_empty() {
            return Err(format!("event {sequence} is not in quarantine").into());
        }
        for listed in listed {
            say(&serde_json::to_string_pretty(&listed.record)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn retry(&self, name: &str, wanted: RetryView) -> Outcome {
        let retried: Retried = match self {
            Self::Folder(node, store) => {
                let (tenant, view) = (wanted.tenant.into(), wanted.view.into());
                let projection = node.meant(store, name)?;
                let (settings, options) = (&node.settings, node.options());
                retry_at_rest(store, &projection, settings, &options, &tenant, &view).await?
            }
            Self::Remote(remote) => {
                let (view, tenant) = (in_path(&wanted.view), in_path(&wanted.tenant));
                let path = format!(
                    "/quarantine/{}/retry?view={view}&tenant={tenant}",
                    in_path(name)
                );
                remote.get(Method::POST, &path).await?
            }
        };
        say(&match retried.applied {
            1 => "1 event is in the view now".to_owned(),
            applied => format!("{applied} events are in the view now"),
        })?;
        match retried.stuck {
            None => Ok(ExitCode::SUCCESS),
            Some((sequence, reason)) => {
                Err(format!("event {sequence} still cannot be applied: {reason}").into())
            }
        }
    }

    async fn drop_event(&self, name: &str, sequence: u64) -> Outcome {
        match self {
            Self::Folder(node, store) => {
                let projection = node.meant(store, name)?;
                let (settings, options) = (&node.settings, node.options());
                drop_at_rest(store, &projection, settings, &options, sequence).await?;
            }
            Self::Remote(remote) => {
                let path = format!("/quarantine/{}/{sequence}", in_path(name));
                let () = remote.get(Method::DELETE, &path).await?;
            }
        }
        say(&format!(
            "event {sequence} will never be in the views of {name}"
        ))
    }
}

fn is_owned(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(StorageError::Owned { .. }))
}
