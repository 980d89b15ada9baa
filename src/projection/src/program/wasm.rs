//! `wasm/v1`: programs as WebAssembly modules, for rules that no graph of steps can say.
//!
//! A module imports nothing, and exports `memory`, `alloc`, `key` and `project`. Each call has a fresh instance, so that nothing of one event is there for the next: a rebuild sees what the events saw when they came.
//! Its gas is the fuel of the engine, which is the same on every machine; a call that takes too long by the clock is no verdict (see `call`).

mod call;
mod host;

use std::{fs, path::Path, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use thiserror::Error;
use wasmtime::{ExternType, FuncType, InstancePre, Linker, Module, ValType};

use self::{
    call::{Bounds, Call},
    host::Host,
};
use super::{KEYS_MAX, Meta, Outcome, Program, ProgramError, written};
use crate::{
    hex,
    types::{Envelope, TenantId, ViewId, ViewType},
};

/// The name of the language in manifests and programs.
pub const LANGUAGE: &str = super::WASM_LANGUAGE;

/// What runs modules. Another version may count fuel differently, so it makes another program of the same module.
pub const ENGINE: &str = "wasmtime 48";

/// How much fuel a unit of gas is: about as much work as a step of `dag/v1`.
pub const FUEL_PER_GAS: u64 = 100;

/// How large the memory of a call may become.
pub const MEMORY_BYTES_MAX: usize = 64 << 20;

/// How long a call may take by the clock. Gas ends honest programs long before.
const WITHIN: Duration = Duration::from_secs(10);

/// A compiled module.
pub struct WasmProgram {
    hash: String,
    gas_max: u64,
    within: Duration,
    module: InstancePre<Bounds>,
    host: Arc<Host>,
}

/// Why a module is no program.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WasmError {
    /// It cannot be read.
    #[error("{what}")]
    Unreadable {
        /// Why not.
        what: String,
    },
    /// It wants something of the node.
    #[error("the module imports {name}; a program has nothing but its event and its view")]
    Imports {
        /// What it wants.
        name: String,
    },
    /// It does not have what is called.
    #[error("the module must export {wanted}")]
    Lacks {
        /// What is missing, or of another type.
        wanted: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    language: String,
    /// The binary module, in base64.
    module: String,
}

/// What a call is told.
#[derive(Serialize)]
struct Input<'a> {
    event: &'a Envelope,
    meta: MetaInput<'a>,
    /// Not there while keys are found; null where there is no view yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<&'a Value>,
}

#[derive(Serialize)]
struct MetaInput<'a> {
    stream_seq: u64,
    tenant: &'a TenantId,
    view_type: &'a ViewType,
    #[serde(skip_serializing_if = "Option::is_none")]
    view_id: Option<&'a ViewId>,
}

/// What `project` answers: one of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    #[serde(default, deserialize_with = "written")]
    new_view: Option<Value>,
    #[serde(default)]
    delete: bool,
    #[serde(default)]
    skip: bool,
}

/// Reads a module from a `.wasm` or `.wat` file, as the program that a manifest has.
///
/// # Errors
/// The file cannot be read, or its text is no module.
pub fn read(file: &Path) -> Result<Value, WasmError> {
    let unreadable = |error: &dyn std::error::Error| WasmError::Unreadable {
        what: error.to_string(),
    };
    let bytes = fs::read(file).map_err(|error| unreadable(&error))?;
    // A binary is left as it is.
    let module = wat::parse_bytes(&bytes).map_err(|error| unreadable(&error))?;
    Ok(json!({"language": LANGUAGE, "module": BASE64_STANDARD.encode(module)}))
}

impl WasmProgram {
    /// Compiles a program that may use `gas_max` for a call.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn compile(source: &Value, gas_max: u64) -> Result<Self, WasmError> {
        let Source { language, module } =
            Source::deserialize(source).map_err(|error| WasmError::Unreadable {
                what: error.to_string(),
            })?;
        if language != LANGUAGE {
            let what = format!("{language:?} is not {LANGUAGE}");
            return Err(WasmError::Unreadable { what });
        }
        let bytes = BASE64_STANDARD.decode(module);
        let bytes = bytes.map_err(|error| WasmError::Unreadable {
            what: format!("the module is not base64: {error}"),
        })?;
        let digest = Sha256::new()
            .chain_update(LANGUAGE)
            .chain_update(ENGINE)
            .chain_update(gas_max.to_be_bytes())
            .chain_update(&bytes)
            .finalize();
        let host = Host::shared().map_err(unusable)?;
        let module = Module::from_binary(host.engine(), &bytes).map_err(unusable)?;
        check(&module)?;
        let module = Linker::new(host.engine()).instantiate_pre(&module);
        Ok(Self {
            hash: hex::short(&digest),
            gas_max,
            within: WITHIN,
            module: module.map_err(unusable)?,
            host,
        })
    }

    /// The same, given up by the clock after `within`.
    #[must_use]
    pub fn given_up_after(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    fn call(&self, export: &'static str) -> Call<'_> {
        Call::new(self, export)
    }

    fn outcome(
        call: &mut Call<'_>,
        view: Option<&Value>,
        event: &Envelope,
        meta: &Meta<'_>,
    ) -> Result<Outcome, ProgramError> {
        let answer: Output = call.ask(&Input {
            event,
            meta: MetaInput::of(meta),
            view: Some(view.unwrap_or(&Value::Null)),
        })?;
        match answer {
            Output {
                new_view: Some(new),
                delete: false,
                skip: false,
            } if !new.is_null() => Ok(Outcome::View(new)),
            Output {
                new_view: None | Some(Value::Null),
                delete,
                skip: false,
            } if delete != answer.new_view.is_some() => Ok(match view {
                Some(_) => Outcome::Delete,
                None => Outcome::Unchanged,
            }),
            Output {
                new_view: None,
                delete: false,
                skip: true,
            } => Ok(Outcome::Unchanged),
            _ => Err(call.contract("the answer has not one of new_view, delete and skip")),
        }
    }
}

fn unusable(error: wasmtime::Error) -> WasmError {
    WasmError::Unreadable {
        what: format!("{error:#}"),
    }
}

/// Whether the module has what is called, and wants nothing.
fn check(module: &Module) -> Result<(), WasmError> {
    if let Some(import) = module.imports().next() {
        return Err(WasmError::Imports {
            name: format!("{}.{}", import.module(), import.name()),
        });
    }
    if !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
        return Err(WasmError::Lacks {
            wanted: "memory, its memory",
        });
    }
    for (name, places, result, wanted) in [
        ("alloc", 1, ValType::I32, "alloc, an (i32) -> i32"),
        ("key", 2, ValType::I64, "key, an (i32, i32) -> i64"),
        ("project", 2, ValType::I64, "project, an (i32, i32) -> i64"),
    ] {
        let type_wanted = FuncType::new(
            module.engine(),
            std::iter::repeat_n(ValType::I32, places),
            [result],
        );
        match module.get_export(name) {
            Some(ExternType::Func(found)) if found.matches(&type_wanted) => {}
            _ => return Err(WasmError::Lacks { wanted }),
        }
    }
    Ok(())
}

impl<'a> MetaInput<'a> {
    fn of(meta: &Meta<'a>) -> Self {
        Self {
            stream_seq: meta.stream_seq,
            tenant: meta.tenant,
            view_type: meta.view_type,
            view_id: meta.view_id,
        }
    }
}

impl Program for WasmProgram {
    fn hash(&self) -> &str {
        &self.hash
    }

    fn keys(&self, event: &Envelope, meta: &Meta<'_>) -> Result<Vec<ViewId>, ProgramError> {
        let mut call = self.call("key");
        let answer: Vec<ViewId> = call.ask(&Input {
            event,
            meta: MetaInput::of(meta),
            view: None,
        })?;
        let mut keys: Vec<ViewId> = Vec::with_capacity(answer.len().min(KEYS_MAX));
        for key in answer {
            if keys.contains(&key) {
                continue;
            }
            if keys.len() == KEYS_MAX {
                return Err(call.contract(&format!("more than {KEYS_MAX} keys")));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    fn project(
        &self,
        view: Option<&Value>,
        event: &Envelope,
        meta: &Meta<'_>,
    ) -> Result<Outcome, ProgramError> {
        self.measured(view, event, meta).0
    }

    fn measured(
        &self,
        view: Option<&Value>,
        event: &Envelope,
        meta: &Meta<'_>,
    ) -> (Result<Outcome, ProgramError>, Option<u64>) {
        let mut call = self.call("project");
        let outcome = Self::outcome(&mut call, view, event, meta);
        (outcome, Some(call.gas_used()))
    }
}
