//! Environment: the variables that a run may look at, those of the process or given ones.

use std::{collections::BTreeMap, ffi::OsString, fmt, sync::Arc};

/// Finds the value of a variable.
type LookUp = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// Looks variables up. Cheap to clone.
///
/// A variable that is empty counts as one that is not set.
#[derive(Clone)]
pub struct Environment(Arc<LookUp>);

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var_os(name))
    }

    /// The environment in which `look_up` finds the variables.
    pub fn new(look_up: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look_up))
    }

    /// The environment of these variables and no others.
    pub fn of<N: Into<String>, V: Into<OsString>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let variables: BTreeMap<String, OsString> = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self::new(move |name| variables.get(name).cloned())
    }

    /// The value of `name`, unless it is not set or empty.
    pub fn get(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// Whether a text could be the name of a variable.
    pub(crate) fn is_name(text: &str) -> bool {
        let first = text.chars().next();
        first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    }
}

/// Shows nothing: some of the values are secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(..)")
    }
}
