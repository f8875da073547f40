//! [`BuildError`]: why a runtime could not be made.

use std::error::Error;
use std::fmt;

use gc_core::HeapError;

/// Why a [`Runtime`](crate::Runtime) could not be made.
///
/// ```
/// let error = runtime::Builder::new().procs(0).build().unwrap_err();
/// assert!(error.to_string().contains("procs"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The scheduler could not be made.
    Scheduler(sched_core::Error),
    /// A thread of the runtime's own could not be started.
    Thread {
        /// Which: the monitor's is `sysmon`.
        name: &'static str,
        /// Why.
        error: std::io::Error,
    },
    /// [`Builder::memory_limit`](crate::Builder::memory_limit) is too small to begin with.
    MemoryLimit {
        /// What was set.
        bytes: usize,
        /// The least that would do now.
        least: usize,
    },
    /// There is no memory for the collected heap, or for this runtime's part in it.
    Heap(HeapError),
    /// The signal of [`Builder::dump_on`](crate::Builder::dump_on) is none of those, or cannot be had.
    Signal(std::io::Error),
    /// The global allocator is alloc-core, but knows nothing of this crate's Ps: goroutines would
    /// race on the caches of threads. Install [`Alloc`](crate::Alloc) instead.
    ForeignBinding,
}

impl From<sched_core::Error> for BuildError {
    fn from(error: sched_core::Error) -> Self {
        BuildError::Scheduler(error)
    }
}

impl From<HeapError> for BuildError {
    fn from(error: HeapError) -> Self {
        BuildError::Heap(error)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Scheduler(error) => write!(f, "the scheduler: {error}"),
            BuildError::Thread { name, error } => {
                write!(f, "the runtime's thread {name:?} cannot be started: {error}")
            }
            BuildError::MemoryLimit { bytes, least } => {
                write!(f, "memory_limit is {bytes} bytes, and must be at least {least} here")
            }
            BuildError::Heap(error) => write!(f, "the collected heap: {error}"),
            BuildError::Signal(error) => write!(f, "the signal to dump on: {error}"),
            BuildError::ForeignBinding => f.write_str(
                "the global allocator is alloc-core, but knows nothing of the runtime: \
                 install `runtime::Alloc` as `#[global_allocator]`",
            ),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            BuildError::Scheduler(error) => Some(error),
            BuildError::Thread { error, .. } | BuildError::Signal(error) => Some(error),
            BuildError::Heap(error) => Some(error),
            BuildError::MemoryLimit { .. } | BuildError::ForeignBinding => None,
        }
    }
}
