//! Files and sets of files that are delivered to nodes.
//!
//! Values only: this crate reads and writes nothing. How files travel is `cfgsync-core`'s, who gets which is `cfgsync-adapter`'s, and how they reach a disk is `cfgsync-runtime`'s.

mod content;
mod file;
mod set;

pub use content::ArtifactContent;
pub use file::{ArtifactFile, FileMode, FileModeError};
pub use set::{ArtifactConflict, ArtifactSet};
