//! What a run leaves behind: its folder, the inventory table, and the report of a failure on one screen.
//!
//! Not here: when a scenario counts as failed, and what of its cluster is collected (see `trellis-steps`); everything here is given as values and texts.

mod failure;
mod folder;
mod log_scan;
mod table;

pub use failure::{FailedStep, FailureReport};
pub use folder::{RunFolder, RunFolderError};
pub use log_scan::{LogLine, first_errors};
pub use table::inventory_table;
