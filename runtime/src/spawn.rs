//! [`go`]: starting goroutines.

use std::error::Error;
use std::fmt;

use sched_core::{Scheduler, SpawnError};

pub use sched_core::stack::StackError;
pub use sched_core::{JoinHandle, Spawn};

/// Runs `f` on a goroutine of the runtime that the caller runs on.
///
/// The goroutine goes on when the handle is dropped. A panic in it is the handle's `Err`, as with
/// threads.
///
/// # Panics
///
/// Outside a runtime, when it is shutting down, and when [stacks](GoError::Stacks) or [memory](GoError::NoMemory) are
/// refused; see [`try_go`].
///
/// ```
/// # let rt = runtime::Runtime::new().unwrap();
/// # rt.run(|| {
/// let handle = runtime::go(|| 6 * 7);
/// assert_eq!(handle.join().unwrap(), 42);
/// # });
/// ```
#[track_caller]
pub fn go<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match try_go(f) {
        Ok(handle) => handle,
        Err(error) => panic!("{error}"),
    }
}

/// As [`go`], but tells when that is impossible.
///
/// # Errors
///
/// Outside a runtime, when it is shutting down, and when [stacks](GoError::Stacks) or [memory](GoError::NoMemory) are
/// refused; `f` is dropped. When a goroutine that was let in may have to wait for its stack, [`Scheduler::spawn`] says.
///
/// ```
/// // No runtime here.
/// assert!(runtime::try_go(|| ()).is_err());
/// ```
#[track_caller]
pub fn try_go<F, T>(f: F) -> Result<JoinHandle<T>, GoError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Ok(sched_core::spawn(f).ok_or(GoError::NoRuntime)??)
}

/// As [`try_go`], on a stack of another size.
///
/// # Errors
///
/// As [`try_go`], and [`GoError::StackTooLarge`].
///
/// ```
/// # let rt = runtime::Runtime::new().unwrap();
/// # rt.run(|| {
/// use runtime::Spawn;
/// fn depth(n: u32) -> u32 {
///     let frame = std::hint::black_box([n; 250]);
///     if n == 0 { frame[0] } else { 1 + depth(n - 1) }
/// }
/// let deep = runtime::go_with(Spawn::new().stack_bytes(16 << 20), || depth(2_000))?;
/// assert_eq!(deep.join().unwrap(), 2_000);
/// # Ok::<(), runtime::GoError>(()) }).unwrap();
/// ```
#[track_caller]
pub fn go_with<F, T>(how: Spawn, f: F) -> Result<JoinHandle<T>, GoError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Ok(sched_core::spawn_with(how, f).ok_or(GoError::NoRuntime)??)
}

/// Lets others run. On a plain thread it yields to other threads.
///
/// Nobody needs it for fairness, as goroutines are preempted; a loop that waits for another
/// goroutine's store is politer with it.
///
/// ```
/// # let rt = runtime::Runtime::new().unwrap();
/// # rt.run(|| {
/// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
/// let flag = Arc::new(AtomicBool::new(false));
/// let theirs = flag.clone();
/// runtime::go(move || theirs.store(true, Ordering::Release));
/// while !flag.load(Ordering::Acquire) {
///     runtime::yield_now();
/// }
/// # });
/// ```
pub fn yield_now() {
    sched_core::yield_now();
}

/// The scheduler of the calling goroutine.
pub(crate) fn current() -> Result<Scheduler, GoError> {
    sched_core::current().ok_or(GoError::NoRuntime)
}

/// Why a goroutine could not be started.
///
/// ```
/// assert_eq!(runtime::try_go(|| ()).unwrap_err(), runtime::GoError::NoRuntime);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GoError {
    /// The caller is not a goroutine, so it has no runtime. Use [`Runtime::go`](crate::Runtime::go).
    NoRuntime,
    /// The runtime is shutting down.
    ShutDown,
    /// No stack is at hand, or goroutines wait for one, and no more can be made: memory is short, or
    /// [`Builder::memory_limit`](crate::Builder::memory_limit) leaves no room. Others that end make room.
    Stacks(StackError),
    /// The global allocator has no memory for the record of a goroutine, or the box of its closure or future.
    NoMemory,
    /// Stacks so large are not had here.
    StackTooLarge {
        /// Bytes of the largest.
        most: usize,
    },
}

impl From<SpawnError> for GoError {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::ShutDown => GoError::ShutDown,
            SpawnError::Stacks(reason) => GoError::Stacks(reason),
            SpawnError::NoMemory => GoError::NoMemory,
            SpawnError::StackTooLarge { most } => GoError::StackTooLarge { most },
            other => unreachable!("an error this version does not know: {other}"),
        }
    }
}

impl fmt::Display for GoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GoError::NoRuntime => {
                f.write_str("not on a goroutine: start one with `Runtime::run` or `Runtime::go`")
            }
            GoError::ShutDown => f.write_str("the runtime is shutting down"),
            GoError::Stacks(reason) => write!(f, "no stack for a goroutine: {reason}"),
            GoError::NoMemory => f.write_str("no memory for a goroutine's record or closure"),
            GoError::StackTooLarge { most } => {
                write!(f, "a stack has {most} bytes at most; ask for no more than that")
            }
        }
    }
}

impl Error for GoError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_scheduler_refuses_is_told_in_its_words() {
        let refusals = [
            SpawnError::NoMemory,
            SpawnError::Stacks(StackError::NoMemory),
            SpawnError::StackTooLarge { most: 7 },
        ];
        for refusal in refusals {
            assert_eq!(GoError::from(refusal).to_string(), refusal.to_string());
        }
    }
}
