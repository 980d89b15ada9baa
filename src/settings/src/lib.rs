//! Settings: what `trellis.toml` and the environment say, read once into one typed value.
//!
//! Everything that is wrong with them is found at one go and shown where it stands.
//! Not here: the command line (whoever has one lets it win over these values), and what a cluster or a node is (see `trellis-domain`).
//!
//! Suggested order of reading: [`Settings`], [`Environment`], [`RunSettings`], [`ClusterSettings`] and [`NodeSettings`], [`CredentialSource`], [`Cell`], [`SettingsError`].

mod settings;

mod environment;
mod find;

mod clusters;
mod nodes;
mod run;

mod cell;
mod credential;

mod document;
mod masking;
mod problem;
mod readers;
mod section;

pub use cell::{Cell, CellError, resolve_cell};
pub use clusters::ClusterSettings;
pub use credential::{CredentialError, CredentialSource, SecretSource};
pub use document::read_document;
pub use environment::Environment;
pub use find::FILE_NAME;
pub use nodes::NodeSettings;
pub use problem::{SettingsError, SettingsProblem, drawn};
pub use run::{ColorChoice, RunSettings, default_state_folder};
pub use section::Section;
pub use settings::{LookupError, Settings, SettingsSource};
