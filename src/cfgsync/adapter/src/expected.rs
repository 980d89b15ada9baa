//! Who has to register before configurations are ready, as far as an application can say it.

use cfgsync_core::{NotReady, RegistrationOverview, RegistrationStore};

use crate::RegistrationSnapshot;

/// Who has to register. What people are told while a node waits is made of this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Expected {
    /// Only the application knows.
    #[default]
    Unknown,
    /// So many nodes, whichever they are.
    Count(usize),
    /// These nodes; others may come along.
    Nodes(Vec<String>),
}

impl Expected {
    /// Nodes by name.
    pub fn nodes(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Nodes(names.into_iter().map(Into::into).collect())
    }

    /// Whether all who have to are there; always so where nobody is named or counted.
    pub fn is_met_by(&self, registrations: &RegistrationSnapshot) -> bool {
        match self {
            Self::Unknown => true,
            Self::Count(count) => registrations.len() >= *count,
            Self::Nodes(names) => names.iter().all(|name| registrations.contains(name)),
        }
    }

    /// What `registrations` still wait for.
    pub fn awaited(&self, registrations: &RegistrationSnapshot) -> NotReady {
        let missing = self.names().iter();
        NotReady {
            registered: registrations.len(),
            expected: self.count(),
            missing: missing
                .filter(|name| !registrations.contains(name))
                .cloned()
                .collect(),
        }
    }

    pub(crate) fn overview(&self, store: &RegistrationStore, ready: bool) -> RegistrationOverview {
        let missing = store.missing(self.names().iter().map(String::as_str));
        store.overview(ready, self.count(), missing)
    }

    fn count(&self) -> Option<usize> {
        match self {
            Self::Unknown => None,
            Self::Count(count) => Some(*count),
            Self::Nodes(names) => Some(names.len()),
        }
    }

    fn names(&self) -> &[String] {
        match self {
            Self::Nodes(names) => names,
            Self::Unknown | Self::Count(_) => &[],
        }
    }
}
