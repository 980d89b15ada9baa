//! `rebuild`, `cutover`, `rollback` and `retire`: new generations of views, in all shards or in one. Nodes that run are asked by HTTP; where none runs, it is done here.
//!
//! What is made is in `making`, what is flipped in `flips`, and how both are shown in `shown`.

mod flips;
mod making;
mod shown;

use std::{process::ExitCode, time::Duration};

use clap::Args;
use futures::{StreamExt, stream};

use self::shown::{Ending, Told};
pub(super) use self::shown::{Failure, Shown};
use super::{Outcome, node::Place, seat::Seat};
use crate::{
    rebuild::Command,
    types::{Scope, TenantId},
};

/// How many owners are asked at a time.
const AT_ONCE_MAX: usize = 32;

/// How it is asked, and how it answers.
#[derive(Args)]
pub(super) struct Asking {
    /// A node that runs, which passes on what is for others; as the settings say, unless given.
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// As JSON, one document a line.
    #[arg(long)]
    json: bool,
    /// Do not wait until it is over, where a node runs.
    #[arg(long)]
    detach: bool,
    /// How long to wait for somebody who answers for a shard, such as while it moves to another node.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    patience: Duration,
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

/// Serve another generation, now. Of several shards none is flipped unless all are ready.
#[derive(Args)]
pub(super) struct Cutover {
    /// The projection, or one generation of it such as account@2.
    projection: String,
    #[command(flatten)]
    asking: Asking,
}

/// Serve again what was served before. Of several shards none is flipped unless all have a way back.
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
    /// The generation, such as account@1; a projection stands for all that were served before.
    generation: String,
    #[command(flatten)]
    asking: Asking,
}

impl Rebuild {
    pub(super) async fn run(self, place: Place<'_>) -> Outcome {
        let settings = match super::node::settings(place.file) {
            Ok(settings) => Some(settings),
            // A node that is named says the rest.
            Err(_) if self.asking.node.is_some() && place.file.is_none() => None,
            Err(error) => return Err(error),
        };
        if settings.is_none() && self.view.is_some() && self.tenant.is_none() {
            return Err("name the tenant of the view with --tenant: without settings nobody knows which one is meant".into());
        }
        let default = settings
            .as_ref()
            .map(|settings| settings.default_tenant.clone());
        let scope = scope(self.tenant, self.view, default.unwrap_or_default());
        let projection = self.projection;
        let again = format!("rebuild {projection}");
        let (asking, mut seats) = self.asking.seats(place).await?;
        let shown = Shown::new(asking.json, seats.len() > 1, again);
        if let Some(scope) = scope {
            if let Scope::View { tenant, id } = &scope {
                // Where the id of a view tells its shard, the others have nothing to do with it.
                let layout = settings.map(|settings| settings.layout()).transpose()?;
                let of = layout.and_then(|layout| layout.of_view(tenant, id.as_str()));
                seats.retain(|seat| of.is_none_or(|of| seat.shard.is_none_or(|shard| shard == of)));
            }
            let command = Command::RebuildPart { projection, scope };
            return asking
                .each(&seats, shown, async |making| making.part(&command).await)
                .await;
        }
        if self.in_place {
            let command = Command::RebuildInPlace { projection };
            return asking
                .each(&seats, shown, async |making| making.at_once(&command).await)
                .await;
        }
        let from = self.from.unwrap_or(1);
        let id = making::id_for(&seats, &projection, from).await;
        asking
            .each(&seats, shown, async |making| {
                making.rebuild(&projection, from, &id).await
            })
            .await
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
    pub(super) async fn run(self, place: Place<'_>) -> Outcome {
        let again = format!("cutover {}", self.projection);
        let (asking, seats) = self.asking.seats(place).await?;
        let shown = Shown::new(asking.json, seats.len() > 1, again);
        let told = flips::cut_over(&seats, &self.projection, &shown).await;
        shown.end(told)
    }
}

impl Rollback {
    pub(super) async fn run(self, place: Place<'_>) -> Outcome {
        let again = format!("rollback {}", self.projection);
        let (asking, seats) = self.asking.seats(place).await?;
        let shown = Shown::new(asking.json, seats.len() > 1, again);
        let told = flips::roll_back(&seats, &self.projection, &shown).await;
        shown.end(told)
    }
}

impl Retire {
    pub(super) async fn run(self, place: Place<'_>) -> Outcome {
        let generation = self.generation;
        let (asking, seats) = self.asking.seats(place).await?;
        let shown = Shown::new(asking.json, seats.len() > 1, format!("retire {generation}"));
        if let Some(refused) = flips::refuse_served(&seats, &generation).await {
            return shown.end(refused);
        }
        asking
            .each(&seats, shown, async |making| {
                making.retire(&generation).await
            })
            .await
    }
}

/// What one shard is asked for, with how that is shown.
struct Making<'a> {
    seat: &'a Seat,
    shown: &'a Shown,
    detach: bool,
}

impl Asking {
    async fn seats(
        self,
        place: Place<'_>,
    ) -> Result<(Self, Vec<Seat>), Box<dyn std::error::Error>> {
        let seats = Seat::all(place, self.node.as_deref(), self.patience).await?;
        Ok((self, seats))
    }

    /// Does `work` for each shard, whatever becomes of the others.
    async fn each(
        &self,
        seats: &[Seat],
        shown: Shown,
        work: impl AsyncFn(&Making<'_>) -> Result<Ending, Failure>,
    ) -> Result<ExitCode, Box<dyn std::error::Error>> {
        // On stores here, one after the other: they share this machine.
        let at_once = if seats.iter().any(|seat| seat.fleet().is_none()) {
            1
        } else {
            AT_ONCE_MAX
        };
        let (shown_by, work) = (&shown, &work);
        let told = stream::iter(seats).map(|seat| async move {
            let making = Making {
                seat,
                shown: shown_by,
                detach: self.detach,
            };
            let outcome = work(&making).await;
            Told {
                shard: seat.shard,
                outcome,
            }
        });
        let told: Vec<_> = told.buffered(at_once).collect().await;
        shown.end(told)
    }
}
