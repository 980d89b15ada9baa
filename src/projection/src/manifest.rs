//! The manifest: which projections there are, by which programs. It is checked wholly before anything is read from a stream.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

#[cfg(feature = "wasm")]
use crate::program::wasm;
use crate::{
    program::{
        Program, WASM_LANGUAGE,
        dag::{self, DagProgram},
    },
    quarantine::PoisonPolicy,
    settings::parse_document,
    types::{FieldPath, ViewTable},
};

/// Why a manifest cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It cannot be read.
    #[error("the manifest {} {what}", file.display())]
    Unreadable {
        /// The manifest.
        file: PathBuf,
        /// Why not.
        what: String,
    },
    /// What it says cannot be done.
    #[error("the manifest is wrong: {}", problems.join("; "))]
    Wrong {
        /// All that is wrong.
        problems: Vec<String>,
    },
}

/// The projections of a node, each with its compiled program.
#[derive(Clone)]
pub struct ProjectionManifest {
    projections: Vec<Projection>,
}

/// One projection.
#[derive(Clone)]
pub struct Projection {
    /// Where its views are.
    pub table: ViewTable,
    /// What makes them.
    pub program: Arc<dyn Program>,
    /// The text of the program, by which it can be compiled again when the manifest has another one; `None` for programs without a text.
    pub text: Option<ProgramText>,
    /// What becomes of events that it cannot apply.
    pub policy: PoisonPolicy,
    /// The members by which its views can be found and sorted without looking at all of them.
    pub indexes: Vec<FieldPath>,
}

/// A program as it was written, with how much it may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgramText {
    /// The program.
    pub source: Value,
    /// How much gas it may use for an event.
    pub gas_max: u64,
}

impl ProgramText {
    /// Compiles it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(&self) -> Result<Arc<dyn Program>, String> {
        let language = self.source.get("language").and_then(Value::as_str);
        match language {
            Some(dag::LANGUAGE) => DagProgram::compile(&self.source, self.gas_max)
                .map(|program| Arc::new(program) as Arc<dyn Program>)
                .map_err(|error| error.to_string()),
            Some(WASM_LANGUAGE) => self.compile_wasm(),
            Some(other) => Err(format!("the language {other:?} is not known here")),
            None => Err("the program does not name its language".to_owned()),
        }
    }

    #[cfg(feature = "wasm")]
    fn compile_wasm(&self) -> Result<Arc<dyn Program>, String> {
        wasm::WasmProgram::compile(&self.source, self.gas_max)
            .map(|program| Arc::new(program) as Arc<dyn Program>)
            .map_err(|error| error.to_string())
    }

    #[cfg(not(feature = "wasm"))]
    #[expect(clippy::unused_self, reason = "with the feature it is used")]
    fn compile_wasm(&self) -> Result<Arc<dyn Program>, String> {
        Err(WITHOUT_WASM.to_owned())
    }
}

#[cfg(not(feature = "wasm"))]
const WITHOUT_WASM: &str = "this node runs no wasm/v1; build it with `cargo build --release -p projection --features wasm`";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    projections: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    view_type: String,
    #[serde(default = "first")]
    generation: u32,
    /// A file beside the manifest, or the program itself.
    program: Value,
    #[serde(default)]
    poison: PoisonPolicy,
    gas_max: Option<u64>,
    /// Paths of members, such as `owner.name`.
    #[serde(default)]
    indexes: Vec<String>,
}

fn first() -> u32 {
    1
}

impl ProjectionManifest {
    /// Reads the manifest in `file` and compiles its programs, with `gas_max` where it names no other.
    ///
    /// # Errors
    /// All that is wrong with it, at once.
    pub fn load(file: &Path, gas_max: u64) -> Result<Self, ManifestError> {
        let unreadable = |what: String| ManifestError::Unreadable {
            file: file.to_owned(),
            what,
        };
        let text = fs::read_to_string(file)
            .map_err(|error| unreadable(format!("cannot be read: {error}")))?;
        let document: Document = parse_document(file, &text).map_err(unreadable)?;
        let folder = file.parent().unwrap_or(Path::new(""));

        let mut problems = Vec::new();
        let mut names = BTreeSet::new();
        let mut projections = Vec::new();
        for entry in document.projections {
            let name = entry.view_type.clone();
            if !names.insert((name.clone(), entry.generation)) {
                problems.push(format!("{name} is there twice"));
            }
            match projection(entry, folder, gas_max) {
                Ok(projection) => projections.push(projection),
                Err(what) => problems.push(format!("{name}: {what}")),
            }
        }
        if projections.is_empty() && problems.is_empty() {
            problems.push("there are no projections".to_owned());
        }
        if problems.is_empty() {
            Ok(Self { projections })
        } else {
            Err(ManifestError::Wrong { problems })
        }
    }

    /// The manifest of these projections, for programs that are not in files.
    pub fn of(projections: Vec<Projection>) -> Self {
        Self { projections }
    }

    /// The projections.
    pub fn projections(&self) -> &[Projection] {
        &self.projections
    }

    /// The projection whose table is called `name`: a type, or a type and a generation as in `account@2`.
    pub fn find(&self, name: &str) -> Option<&Projection> {
        let named = |projection: &&Projection| {
            projection.table.view_type.as_str() == name || projection.table.to_string() == name
        };
        self.projections.iter().find(named)
    }
}

fn projection(entry: Entry, folder: &Path, gas_max: u64) -> Result<Projection, String> {
    /// A type is part of names of tables, metrics and paths.
    const TYPE_BYTES_MAX: usize = 64;
    let plain = |sign: char| sign.is_ascii_alphanumeric() || sign == '_' || sign == '-';
    if entry.view_type.is_empty()
        || entry.view_type.len() > TYPE_BYTES_MAX
        || !entry.view_type.chars().all(plain)
    {
        return Err("a type has 1 to 64 letters, digits, _ and -".to_owned());
    }
    let indexes = indexes(&entry.indexes)?;
    let source = match entry.program {
        Value::String(name) => read_program(&folder.join(name))?,
        program => program,
    };
    let text = ProgramText {
        source,
        gas_max: entry.gas_max.unwrap_or(gas_max),
    };
    Ok(Projection {
        table: ViewTable {
            view_type: entry.view_type.into(),
            generation: entry.generation,
        },
        program: text.compile()?,
        text: Some(text),
        policy: entry.poison,
        indexes,
    })
}

fn indexes(paths: &[String]) -> Result<Vec<FieldPath>, String> {
    /// Each is written with every view.
    const INDEXES_MAX: usize = 16;
    if paths.len() > INDEXES_MAX {
        return Err(format!("there are at most {INDEXES_MAX} indexes"));
    }
    let mut fields: Vec<FieldPath> = Vec::new();
    for path in paths {
        let field = path.parse().map_err(|error| format!("indexes: {error}"))?;
        if fields.contains(&field) {
            return Err(format!("indexes: {field} is there twice"));
        }
        fields.push(field);
    }
    Ok(fields)
}

fn read_program(file: &Path) -> Result<Value, String> {
    let extension = file.extension().and_then(|extension| extension.to_str());
    let read = if let Some("wasm" | "wat") = extension {
        read_module(file)
    } else {
        fs::read_to_string(file)
            .map_err(|error| error.to_string())
            .and_then(|text| parse_document(file, &text))
    };
    read.map_err(|what| format!("{}: {what}", file.display()))
}

#[cfg(feature = "wasm")]
fn read_module(file: &Path) -> Result<Value, String> {
    wasm::read(file).map_err(|error| error.to_string())
}

#[cfg(not(feature = "wasm"))]
fn read_module(_file: &Path) -> Result<Value, String> {
    Err(WITHOUT_WASM.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(manifest: &str) -> Result<ProjectionManifest, ManifestError> {
        let folder = tempfile::tempdir().unwrap();
        let program = "language: dag/v1\nkey: {event: aggregate_id}\nview: {event: payload}\n";
        fs::write(folder.path().join("last.yaml"), program).unwrap();
        let file = folder.path().join("manifest.yaml");
        fs::write(&file, manifest).unwrap();
        ProjectionManifest::load(&file, 1_000)
    }

    #[test]
    fn programs_in_files_and_in_place_are_compiled_and_park_keys_unless_told_otherwise() {
        let manifest = load(
            "projections:\n- {view_type: last, program: last.yaml}\n- {view_type: one, generation: 2, poison: halt, program: {language: dag/v1, key: k, view: 1}}\n",
        )
        .unwrap();
        assert_eq!(manifest.find("last").unwrap().policy, PoisonPolicy::ParkKey);
        assert_eq!(manifest.find("one@2").unwrap().policy, PoisonPolicy::Halt);
        assert!(manifest.find("two").is_none());
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let error = load(
            "projections:\n- {view_type: a, program: missing.yaml}\n- {view_type: b, program: {language: dag/v1, key: k, view: {fly: 1}}}\n- {view_type: 'c:d', program: last.yaml}\n- {view_type: e, program: {language: wasm/v9}}\n- {view_type: f, program: last.yaml}\n- {view_type: f, program: last.yaml}\n- {view_type: g, program: last.yaml, indexes: [a..b]}\n- {view_type: h, program: last.yaml, indexes: [a, $.a]}\n",
        )
        .err()
        .unwrap()
        .to_string();
        for part in [
            "a: ",
            "missing.yaml",
            "b: at view.fly: there is no such operation",
            "c:d: a type has",
            "\"wasm/v9\" is not known",
            "f is there twice",
            "g: indexes: \"a..b\" is not a path",
            "h: indexes: a is there twice",
        ] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert!(load("projections: []").is_err());
    }

    #[cfg(not(feature = "wasm"))]
    #[test]
    fn a_node_that_runs_no_modules_says_how_one_is_built_that_does() {
        for program in [
            "account.wasm",
            "account.wat",
            "{language: wasm/v1, module: ''}",
        ] {
            let text = format!("projections: [{{view_type: account, program: {program}}}]");
            let error = load(&text).err().unwrap().to_string();
            assert!(error.contains("--features wasm"), "{error}");
        }
    }
}
