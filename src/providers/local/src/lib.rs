//! The local backend: owned nodes as processes of this machine.
//!
//! It adapts and decides nothing: when a node is ready, who its peers are and what may be done to whom is decided in `trellis-bootstrap` and `trellis-runtime`. No network faults yet; a node's address is asked of [`LocalConfig`] in one place, so that nodes can move to namespaces of their own.
//!
//! Suggested order of reading: [`LocalDeployer`], `control` (the cluster), `node` (one node), `process` and `spawner` (how a process is owned), `ports`, `survivors` and [`reap`] (what ends processes that nobody holds any more), [`Beside`] (processes that are no nodes).
//!
//! Linux only: it relies on the parent-death signal, process descriptors and `/proc`.

mod artifacts;
mod beside;
mod config;
mod control;
mod copies;
mod deployer;
mod environment;
mod files;
mod folder;
#[cfg(test)]
mod forks;
mod label;
mod log;
mod node;
mod ports;
mod process;
mod procfs;
mod reap;
mod spawner;
mod survivors;

pub use beside::{Beside, BesideError};
pub use config::LocalConfig;
pub use deployer::LocalDeployer;
pub use reap::{ReapError, ReapReport, reap};
