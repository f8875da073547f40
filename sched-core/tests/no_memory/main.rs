//! Memory that is refused is an error of the spawn that needs it, and nothing else.

mod few;
mod records;
mod refusing;
mod stacks;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test after the other: what some refuse is refused to all.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
