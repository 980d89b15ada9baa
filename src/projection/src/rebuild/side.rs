//! The side: a part of the views made again, by a program that looks away from everything else.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    manifest::Projection,
    program::{Meta, Outcome, Program, ProgramError},
    quarantine::PoisonPolicy,
    types::{Envelope, Scope, TenantId, ViewId, ViewTable},
};

/// `projection` for the views of `scope` alone, in `table`. Their bytes are those that the whole projection would make.
pub fn only(projection: &Projection, scope: &Scope, table: ViewTable) -> Projection {
    Projection {
        table,
        program: Arc::new(Only {
            inner: Arc::clone(&projection.program),
            scope: scope.clone(),
        }),
        text: None,
        policy: match projection.policy {
            // What is served has got past such events, so it goes without them.
            PoisonPolicy::Halt => PoisonPolicy::Skip,
            policy => policy,
        },
        indexes: Vec::new(),
    }
}

struct Only {
    inner: Arc<dyn Program>,
    scope: Scope,
}

impl Scope {
    fn tenant(&self) -> &TenantId {
        match self {
            Self::Tenant { tenant } | Self::View { tenant, .. } => tenant,
        }
    }
}

impl Program for Only {
    fn hash(&self) -> &str {
        self.inner.hash()
    }

    fn keys(&self, event: &Envelope, meta: &Meta<'_>) -> Result<Vec<ViewId>, ProgramError> {
        if meta.tenant != self.scope.tenant() {
            return Ok(Vec::new());
        }
        let mut keys = self.inner.keys(event, meta)?;
        if let Scope::View { id, .. } = &self.scope {
            keys.retain(|key| key == id);
        }
        Ok(keys)
    }

    fn project(
        &self,
        view: Option<&Value>,
        event: &Envelope,
        meta: &Meta<'_>,
    ) -> Result<Outcome, ProgramError> {
        self.inner.project(view, event, meta)
    }
}
