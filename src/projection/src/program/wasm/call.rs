//! A call: an instance of its own, a question and an answer in JSON, and what it means where there is none.
//!
//! What depends on the module and its input alone is a verdict. What depends on the machine is not: the clock, the size of its stack, and room for the instance.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;
use wasmtime::{Instance, ResourceLimiter, Store, Trap, TypedFunc};

use super::{FUEL_PER_GAS, Host, MEMORY_BYTES_MAX, WasmProgram};
use crate::program::{BYTES_PER_GAS, ProgramError};

/// More than any table of functions needs.
const TABLE_ELEMENTS_MAX: usize = 20_000;

/// One call of a program.
pub(super) struct Call<'p> {
    program: &'p WasmProgram,
    export: &'static str,
    store: Store<Bounds>,
}

/// What an instance may grow to.
pub(super) struct Bounds;

/// The program wanted more memory than there is for it.
#[derive(Debug, Error)]
#[error("{bytes} bytes of memory are too many")]
struct MemoryTooLarge {
    bytes: usize,
}

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > MEMORY_BYTES_MAX {
            return Err(MemoryTooLarge { bytes: desired }.into());
        }
        Ok(true)
    }

    /// What is allowed and fails is this machine's, and the program must not see it.
    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }
}

impl<'p> Call<'p> {
    pub(super) fn new(program: &'p WasmProgram, export: &'static str) -> Self {
        let mut store = Store::new(program.host.engine(), Bounds);
        store.limiter(|bounds| bounds);
        store.set_epoch_deadline(Host::ticks(program.within));
        let mut call = Self {
            program,
            export,
            store,
        };
        call.set_fuel(fuel(program.gas_max));
        call
    }

    /// What the program answers to `input`.
    pub(super) fn ask<A: DeserializeOwned>(
        &mut self,
        input: &impl Serialize,
    ) -> Result<A, ProgramError> {
        let input = serde_json::to_vec(input).expect("JSON values are always JSON");
        self.charge_bytes(input.len())?;
        let instance = self.program.module.instantiate(&mut self.store);
        let instance = instance.map_err(|error| self.explain(&error))?;
        let output = self.pass(&instance, &input)?;
        self.charge_bytes(output.len())?;
        serde_json::from_slice(&output)
            .map_err(|error| self.contract(&format!("the answer is not as it must be: {error}")))
    }

    /// Puts `input` where the program wants it, and copies the answer.
    fn pass(&mut self, instance: &Instance, input: &[u8]) -> Result<Vec<u8>, ProgramError> {
        let memory = instance
            .get_memory(&mut self.store, "memory")
            .expect("it was checked that it is exported");
        let len = u32::try_from(input.len()).expect("events and views are far smaller");
        let alloc: TypedFunc<u32, u32> = self.function(instance, "alloc");
        let place = alloc.call(&mut self.store, len);
        let place = place.map_err(|error| self.explain(&error))?;
        if memory
            .write(&mut self.store, place as usize, input)
            .is_err()
        {
            return Err(self.contract("alloc gave a place outside of the memory"));
        }
        let called: TypedFunc<(u32, u32), u64> = self.function(instance, self.export);
        let packed = called.call(&mut self.store, (place, len));
        let packed = packed.map_err(|error| self.explain(&error))?;
        let (start, len) = ((packed >> 32) as usize, (packed & 0xffff_ffff) as usize);
        let answer = memory.data(&self.store).get(start..start + len);
        let answer = answer.map(<[u8]>::to_vec);
        answer.ok_or_else(|| self.contract("the answer is outside of the memory"))
    }

    fn function<P, R>(&mut self, instance: &Instance, name: &str) -> TypedFunc<P, R>
    where
        P: wasmtime::WasmParams,
        R: wasmtime::WasmResults,
    {
        instance
            .get_typed_func(&mut self.store, name)
            .expect("its type was checked")
    }

    /// How much was used, the last unit wholly.
    pub(super) fn gas_used(&self) -> u64 {
        let used = fuel(self.program.gas_max) - self.fuel_left();
        used.div_ceil(FUEL_PER_GAS)
    }

    fn charge_bytes(&mut self, bytes: usize) -> Result<(), ProgramError> {
        let left = self
            .fuel_left()
            .checked_sub(fuel((bytes / BYTES_PER_GAS) as u64));
        self.set_fuel(left.unwrap_or(0));
        let gas_max = self.program.gas_max;
        left.map(drop).ok_or(ProgramError::Gas { gas_max })
    }

    fn fuel_left(&self) -> u64 {
        self.store.get_fuel().expect("fuel is counted")
    }

    fn set_fuel(&mut self, fuel: u64) {
        self.store.set_fuel(fuel).expect("fuel is counted");
    }

    pub(super) fn contract(&self, what: &str) -> ProgramError {
        ProgramError::Contract {
            node: self.export.to_owned(),
            what: what.to_owned(),
        }
    }

    fn explain(&self, error: &wasmtime::Error) -> ProgramError {
        let unfinished = |what: String| ProgramError::Unfinished { what };
        if let Some(MemoryTooLarge { bytes }) = error.downcast_ref() {
            return ProgramError::Size {
                what: "the memory of the program",
                bytes: *bytes,
                bytes_max: MEMORY_BYTES_MAX,
            };
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => ProgramError::Gas {
                gas_max: self.program.gas_max,
            },
            Some(Trap::Interrupt) => {
                unfinished(format!("it ran for more than {:?}", self.program.within))
            }
            // How large a frame is depends on what the code was compiled for.
            Some(Trap::StackOverflow) => {
                unfinished("its calls are deeper than the stack".to_owned())
            }
            Some(trap) => self.contract(&trap.to_string()),
            None => unfinished(format!("{error:#}")),
        }
    }
}

fn fuel(gas: u64) -> u64 {
    gas.saturating_mul(FUEL_PER_GAS)
}
