//! Decoding: from messages to events, once for all projections. What is no event of ours is a verdict, not an error.

use crate::{
    program::ProgramError,
    quarantine::Fault,
    shards::{ShardBy, ShardId, ShardLayout, Share},
    stream::Delivery,
    types::{Envelope, TenantId},
};

/// Whose events a shard takes.
#[derive(Debug, Clone, Default)]
pub(super) struct Tenancy {
    pub(super) multi_tenant: bool,
    pub(super) default_tenant: TenantId,
    pub(super) subject_token: Option<usize>,
    /// Which of them are this shard's.
    pub(super) share: Share,
}

/// Why a message is not applied.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) fault: Fault,
    pub(super) reason: String,
}

impl Verdict {
    /// What an error of a program says of an event; `None` where it says nothing of it.
    pub(super) fn of(error: &ProgramError) -> Option<Self> {
        Some(Self {
            fault: error.fault()?,
            reason: error.to_string(),
        })
    }
}

/// A message with what it says.
pub(super) struct Decoded {
    pub(super) delivery: Delivery,
    pub(super) event: Result<Envelope, Verdict>,
    /// It is of another shard: nothing but the floor passes over it.
    pub(super) foreign: bool,
}

/// Decodes a batch with up to `threads`, in its order.
pub(super) fn decode(
    deliveries: Vec<Delivery>,
    tenancy: &Tenancy,
    event_bytes_max: usize,
    threads: usize,
) -> Vec<Decoded> {
    let one = |delivery: Delivery| {
        let event = envelope(&delivery, tenancy, event_bytes_max);
        let foreign = shard_of(&delivery, &event, tenancy.share.layout) != tenancy.share.shard;
        Decoded {
            delivery,
            event,
            foreign,
        }
    };
    if threads < 2 {
        return deliveries.into_iter().map(one).collect();
    }
    let share = deliveries.len().div_ceil(threads).max(1);
    let mut shares = Vec::new();
    let mut left = deliveries.into_iter();
    while left.len() > 0 {
        shares.push(left.by_ref().take(share).collect::<Vec<_>>());
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || share.into_iter().map(one).collect::<Vec<_>>()))
            .collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().expect("decoding does not panic"));
        joined.flatten().collect()
    })
}

/// The first shard has all that tells of no shard, so that each event is set aside once.
fn shard_of(
    delivery: &Delivery,
    event: &Result<Envelope, Verdict>,
    layout: ShardLayout,
) -> ShardId {
    let told = match (layout.by(), event) {
        (ShardBy::Subject { .. }, _) => {
            layout.of_event(&TenantId::default(), "", &delivery.subject)
        }
        (ShardBy::Aggregate, Ok(event)) => {
            layout.of_view(&event.tenant_id, event.aggregate_id.as_str())
        }
        (ShardBy::Aggregate, Err(_)) => None,
    };
    told.unwrap_or_default()
}

fn envelope(delivery: &Delivery, tenancy: &Tenancy, bytes_max: usize) -> Result<Envelope, Verdict> {
    let verdict = |fault, reason: String| Verdict { fault, reason };
    let bytes = delivery.payload.len();
    if bytes > bytes_max {
        return Err(verdict(
            Fault::Size,
            format!("the event has {bytes} bytes, more than {bytes_max}"),
        ));
    }
    let mut event = Envelope::decode(&delivery.payload)
        .map_err(|error| verdict(Fault::Decode, error.to_string()))?;
    if event.tenant_id.as_str().is_empty() {
        event.tenant_id = tenancy.default_tenant.clone();
    }
    if !tenancy.multi_tenant && event.tenant_id != tenancy.default_tenant {
        return Err(verdict(
            Fault::Tenant,
            format!(
                "there are no tenants here, and it is of {}",
                event.tenant_id
            ),
        ));
    }
    if let Some(token) = tenancy.subject_token {
        let told = delivery.subject.split('.').nth(token).unwrap_or_default();
        if told != event.tenant_id.as_str() {
            return Err(verdict(
                Fault::Tenant,
                format!(
                    "it says that it is of {}, and its subject says {told:?}",
                    event.tenant_id
                ),
            ));
        }
    }
    Ok(event)
}
