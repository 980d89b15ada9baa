//! Keeps tests that close a socket and tests that start a process apart.
//!
//! A child has copies of all sockets until it runs its program, so a socket that a test closed may live on in another test's child.

use std::{
    process::{Child, Command},
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

static FORKS: RwLock<()> = RwLock::new(());

/// No process is started while this is held.
pub(crate) fn none() -> RwLockReadGuard<'static, ()> {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a process, and returns when it runs its program.
pub(crate) fn spawn(command: &mut Command) -> Child {
    let _one = FORKS.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap()
}
