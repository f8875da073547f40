//! Locks and counters that park goroutines: [`Mutex`], [`WaitGroup`].
//!
//! std's own locks work on goroutines as well, soundly: a goroutine that blocks in one keeps its
//! thread until sysmon takes its P away, which costs a hand-off. These park the goroutine instead.
//! Both kinds work on plain threads, and between goroutines of different `Runtime`s.

mod mutex;
mod wait_group;

pub use mutex::{Mutex, MutexGuard};
pub use wait_group::WaitGroup;
