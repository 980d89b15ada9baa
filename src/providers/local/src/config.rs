//! Configuration of the local backend.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
};

/// Where the nodes of this machine are to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalConfig {
    /// The address of every node. It must be one of this machine.
    pub host: IpAddr,
    /// The ports to choose from; `None` lets the system choose.
    pub ports: Option<RangeInclusive<u16>>,
}

impl Default for LocalConfig {
    /// On `127.0.0.1`, at ports that the system chooses.
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            ports: None,
        }
    }
}
