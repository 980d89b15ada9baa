//! The spawner: a thread that starts all processes and outlives them.
//!
//! The kernel sends the parent-death signal when the *thread* that started a process ends, not when the whole parent does. A worker thread of an async runtime may end at any time; this one ends with the deployer and its clusters, or with the harness, however that ends.

use std::{io, os::unix::process::CommandExt as _, process::Command, sync::mpsc, thread};

use rustix::{
    io::Errno,
    process::{Signal, getpid, getppid, set_parent_process_death_signal},
};
use tokio::{process::Child, runtime::Handle, sync::oneshot};
use trellis_bootstrap::ProviderError;

type Assemble = Box<dyn FnOnce() -> Result<Command, ProviderError> + Send>;

/// What came of an order: a command that could not be put together, or one that could not be run, or a process.
type Started = Result<io::Result<Child>, ProviderError>;

struct Order {
    assemble: Assemble,
    runtime: Handle,
    reply: oneshot::Sender<Started>,
}

/// The handle to the thread. The thread ends, and with it every process that still runs, when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    orders: mpsc::Sender<Order>,
}

impl Spawner {
    /// # Errors
    /// A system that is out of threads.
    pub(crate) fn new() -> io::Result<Self> {
        let (orders, incoming) = mpsc::channel();
        thread::Builder::new()
            .name("trellis-spawner".to_owned())
            .spawn(move || serve(&incoming))?;
        Ok(Self { orders })
    }

    /// Puts a command together and starts it, as a process that is killed when the harness ends. Both is done on the thread, so `assemble` may block.
    ///
    /// Must be called on a tokio runtime. A process whose future was dropped meanwhile is killed.
    ///
    /// # Errors
    /// That of `assemble`; within it, that of the system.
    pub(crate) async fn spawn(
        &self,
        assemble: impl FnOnce() -> Result<Command, ProviderError> + Send + 'static,
    ) -> Started {
        let (reply, answer) = oneshot::channel();
        let order = Order {
            assemble: Box::new(assemble),
            runtime: Handle::current(),
            reply,
        };
        let gone = || {
            Ok(Err(io::Error::other(
                "the thread that starts processes has ended",
            )))
        };
        if self.orders.send(order).is_err() {
            return gone();
        }
        answer.await.unwrap_or_else(|_| gone())
    }
}

fn serve(orders: &mpsc::Receiver<Order>) {
    while let Ok(order) = orders.recv() {
        if order.reply.is_closed() {
            continue;
        }
        let _runtime = order.runtime.enter();
        let started = (order.assemble)().map(start);
        // A child that nobody waits for any more is dropped here, and killed by that.
        let _ = order.reply.send(started);
    }
}

fn start(mut command: Command) -> io::Result<Child> {
    let harness = getpid();
    let die_with_harness = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() == Some(harness) {
            Ok(())
        } else {
            // The harness ended before the signal was asked for, so it will never come.
            Err(Errno::SRCH.into())
        }
    };
    #[expect(
        unsafe_code,
        reason = "the only way to run something between fork and exec"
    )]
    // SAFETY: between fork and exec only async-signal-safe calls are allowed. The closure makes two system calls (prctl, getppid) and compares numbers: it takes no lock, allocates nothing and touches no memory but its own.
    unsafe {
        command.pre_exec(die_with_harness);
    }
    tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()
}
