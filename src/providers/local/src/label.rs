//! Labels: environment variables by which a process is known as ours for as long as it lives.
//!
//! Children inherit them, so what a node starts is found as well. A process that overwrites its own environment is not; its process group or its parent-death signal must end it.

use std::fmt;

use trellis_domain::{NodeName, RunId};

const RUN: &str = "TRELLIS_RUN";
const CLUSTER: &str = "TRELLIS_CLUSTER";
const NODE: &str = "TRELLIS_NODE";

/// Which processes are meant: those of a run, of one of its clusters, or of one node of it.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    run: RunId,
    cluster: Option<String>,
    node: Option<NodeName>,
}

impl Label {
    pub(crate) fn run(run: RunId) -> Self {
        Self {
            run,
            cluster: None,
            node: None,
        }
    }

    pub(crate) fn cluster(self, network: &str) -> Self {
        Self {
            cluster: Some(network.to_owned()),
            ..self
        }
    }

    pub(crate) fn node(self, name: &NodeName) -> Self {
        Self {
            node: Some(name.clone()),
            ..self
        }
    }

    /// The variables to set.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            (RUN, Some(self.run.as_str())),
            (CLUSTER, self.cluster.as_deref()),
            (NODE, self.node.as_ref().map(NodeName::as_str)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// Whether a process with this environment (as in `/proc/<pid>/environ`) has the label.
    pub(crate) fn is_on(&self, environ: &[u8]) -> bool {
        self.variables().all(|(name, value)| {
            environ.split(|byte| *byte == 0).any(|entry| {
                entry
                    .strip_prefix(name.as_bytes())
                    .and_then(|rest| rest.strip_prefix(b"="))
                    == Some(value.as_bytes())
            })
        })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, value)) in self.variables().enumerate() {
            let separator = if position == 0 { "" } else { " " };
            write!(f, "{separator}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_matched_whole() {
        let run = Label::run("run-1".parse().unwrap());
        assert!(run.is_on(b"A=1\0TRELLIS_RUN=run-1\0"));
        for other in [
            b"TRELLIS_RUN=run-10\0".as_slice(),
            b"TRELLIS_RUN=run-\0",
            b"XTRELLIS_RUN=run-1\0",
            b"A=TRELLIS_RUN=run-1\0",
            b"",
        ] {
            assert!(!run.is_on(other), "{}", String::from_utf8_lossy(other));
        }
        let node = run.clone().cluster("net").node(&"N".parse().unwrap());
        let environ = b"TRELLIS_RUN=run-1\0TRELLIS_CLUSTER=net\0TRELLIS_NODE=N\0";
        assert!(node.is_on(environ) && run.is_on(environ));
        assert!(!node.is_on(b"TRELLIS_RUN=run-1\0TRELLIS_CLUSTER=net\0"));
        assert_eq!(
            node.to_string(),
            "TRELLIS_RUN=run-1 TRELLIS_CLUSTER=net TRELLIS_NODE=N"
        );
    }
}
