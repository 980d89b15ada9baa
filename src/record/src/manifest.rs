//! The manifest that comes along: the views of a record, and how they are made.

/// The manifest, as it is written beside each record.
pub const MANIFEST: &str = include_str!("../manifest/manifest.yaml");

/// A view that records have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum View {
    /// Who led, and when.
    LeaderHistory,
    /// How long each node was up.
    NodeUptime,
    /// Where each node of a chain is.
    Heads,
    /// Each time that a node left blocks.
    Reorgs,
    /// How far each node is behind.
    SyncLag,
    /// The record itself.
    Record,
}

impl View {
    /// All of them, in the order in which people read them.
    pub const ALL: [Self; 6] = [
        Self::LeaderHistory,
        Self::NodeUptime,
        Self::Heads,
        Self::Reorgs,
        Self::SyncLag,
        Self::Record,
    ];

    /// What queries call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeaderHistory => "leader_history",
            Self::NodeUptime => "node_uptime",
            Self::Heads => "heads",
            Self::Reorgs => "reorgs",
            Self::SyncLag => "sync_lag",
            Self::Record => "record",
        }
    }
}
