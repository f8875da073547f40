//! The one file that names loom: atomics, cells and locks come from here.
//!
//! Under `--cfg loom` these are loom's, and every size that only affects how long a model runs
//! shrinks. Everywhere else they are the standard library's and cost nothing.

#[cfg(loom)]
pub use loom::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};
#[cfg(not(loom))]
pub use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence},
};

/// Entries in one chunk of a mutator's log.
#[cfg(not(loom))]
pub const LOG_CHUNK: usize = 510;
/// Entries in one chunk of a mutator's log.
#[cfg(loom)]
pub const LOG_CHUNK: usize = 4;

/// Grey cells that one worker gives another at once.
#[cfg(not(loom))]
pub const GREY_BATCH: usize = 256;
/// Grey cells that one worker gives another at once.
#[cfg(loom)]
pub const GREY_BATCH: usize = 1;

/// Slots in one chunk of the table of roots.
#[cfg(not(loom))]
pub const ROOT_CHUNK: usize = 64;
/// Slots in one chunk of the table of roots.
#[cfg(loom)]
pub const ROOT_CHUNK: usize = 2;

/// Interior mutability in the `with_mut` form, so that loom can check that accesses exclude each
/// other.
#[cfg(loom)]
pub use loom::cell::UnsafeCell;

/// Interior mutability in the `with_mut` form, so that loom can check that accesses exclude each
/// other.
#[cfg(not(loom))]
#[derive(Debug)]
pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Calls `f` with a pointer to read through; the caller excludes writers.
    #[inline(always)]
    pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Calls `f` with a pointer that may be written through; the caller excludes others.
    #[inline(always)]
    pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}
