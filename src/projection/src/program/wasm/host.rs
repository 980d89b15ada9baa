//! The host: the one engine of a process, and the clock that stops what runs too long.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result};

use super::MEMORY_BYTES_MAX;

/// How exactly time is measured.
const TICK: Duration = Duration::from_millis(50);

/// An engine with its clock, which stops when the last program is gone.
pub(super) struct Host {
    engine: Engine,
    _clock: Sender<()>,
}

impl Host {
    /// The engine that all programs share: it reserves room for as many calls at once as there may be.
    pub(super) fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<Host>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = shared.upgrade() {
            return Ok(host);
        }
        let host = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&host);
        Ok(host)
    }

    fn start() -> Result<Self> {
        let engine = Engine::new(&config())?;
        let (clock, stopped) = channel();
        let ticking = engine.clone();
        thread::Builder::new()
            .name("wasm-clock".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    ticking.increment_epoch();
                }
            })?;
        Ok(Self {
            engine,
            _clock: clock,
        })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// At how many ticks from now `within` has surely passed.
    pub(super) fn ticks(within: Duration) -> u64 {
        let ticks = within.as_millis().div_ceil(TICK.as_millis());
        // The first one may be due at once.
        u64::try_from(ticks).unwrap_or(u64::MAX / 2) + 1
    }
}

/// Nothing that could differ between two machines: one representation of what is not a number, and no instruction whose result the hardware may choose.
fn config() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.max_memory_size(MEMORY_BYTES_MAX);
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_backtrace_max_frames(None)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}
