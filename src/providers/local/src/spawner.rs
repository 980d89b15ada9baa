//! The spawner: a thread that starts all processes and outlives them.
//!
//! The kernel sends the parent-death signal when the *thread* that started a process ends, not when the whole parent does. A worker thread of an async runtime may end at any time; this one ends with the deployer and its clusters, or with the harness, however that ends.

use std::{io, os::unix::process::CommandExt as _, process::Command, sync::mpsc, thread};

use rustix::{
    io::Errno,
    process::{Signal, getpid, getppid, set_parent_process_death_signal},
};
use tokio::{process::Child, runtime::Handle, sync::oneshot};

struct Order {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
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

    /// Starts a process that is killed when the harness ends.
    ///
    /// Must be called on a tokio runtime. A process whose future was dropped meanwhile is killed.
    pub(crate) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (reply, answer) = oneshot::channel();
        let order = Order {
            command,
            runtime: Handle::current(),
            reply,
        };
        let gone = || io::Error::other("the thread that starts processes has ended");
        self.orders.send(order).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn serve(orders: &mpsc::Receiver<Order>) {
    while let Ok(order) = orders.recv() {
        if order.reply.is_closed() {
            continue;
        }
        let _runtime = order.runtime.enter();
        // A child that nobody waits for any more is dropped here, and killed by that.
        let _ = order.reply.send(start(order.command));
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
