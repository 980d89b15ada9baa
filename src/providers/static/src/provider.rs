//! The provider: a cluster is a file, and what it lists is there.

use std::{io, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use trellis_bootstrap::{AttachError, AttachProvider, Discovery};
use trellis_domain::CapabilitySet;

use crate::{StaticError, listing, secrets::LookUp};

/// Attaches to clusters that are listed in files. The provider is called `static`, and a cluster is the path of its file.
#[derive(Clone)]
pub struct StaticProvider {
    look_up: LookUp,
}

impl StaticProvider {
    /// A provider that gets secrets by `look_up` where a listing names a variable.
    pub fn new(look_up: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self {
            look_up: Arc::new(look_up),
        }
    }
}

#[async_trait]
impl AttachProvider for StaticProvider {
    fn name(&self) -> &'static str {
        "static"
    }

    /// None: it knows addresses, not processes.
    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet::NONE
    }

    async fn discover(&self, cluster: &str) -> Result<Discovery, AttachError> {
        let (file, look_up) = (PathBuf::from(cluster), Arc::clone(&self.look_up));
        let reading = tokio::task::spawn_blocking(move || listing::read(&file, &look_up));
        let failed = |source| AttachError::Failed {
            cluster: cluster.to_owned(),
            source,
        };
        match reading.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(StaticError::Unreadable { source, .. }))
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Err(AttachError::UnknownCluster {
                    cluster: cluster.to_owned(),
                    hint: "that file does not exist; a static cluster is the path of its listing"
                        .to_owned(),
                })
            }
            Ok(Err(error)) => Err(failed(error.into())),
            Err(error) => Err(failed(error.into())),
        }
    }
}
