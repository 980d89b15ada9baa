//! Types: what is read from a stream, what is written to a store, and the names of both.
//!
//! Values only: nothing here reads, writes or waits.

mod checkpoint;
pub(crate) mod datum;
mod envelope;
mod generations;
mod id;
mod key;
mod path;
pub(crate) mod pick;
mod view;

pub use checkpoint::{CHECKPOINT_FORMAT, Checkpoint};
pub use envelope::Envelope;
pub(crate) use generations::seconds;
pub use generations::{Exchange, Flip, Generation, GenerationState, Generations, Scope, Target};
pub use id::{TenantId, Text, ViewId, ViewType};
pub use key::{CheckpointKey, KEY_BYTES_MAX, KeyError, TenantScope, ViewKey};
pub(crate) use key::{escape, unescape};
pub use path::{FieldPath, PathError};
pub(crate) use view::StoredText;
pub use view::{StoredView, ViewTable, ViewText};
