//! What can go wrong: memory or address space runs out, or a request makes no sense.
//!
//! Nothing in this crate aborts or panics because memory is short. The caller decides: a
//! `#[global_allocator]` returns null, a runtime may collect and try again.

use core::fmt;

/// Why an allocation, a class or a slab of stacks could not be had.
///
/// ```
/// use alloc_core::Error;
/// assert_eq!(Error::OutOfMemory.to_string(), "out of memory");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The page source gave no more address space or no more memory.
    OutOfMemory,
    /// The heap's memory limit would be passed, and no free page had memory left to give back.
    Limit,
    /// The size or the alignment cannot be served by any heap of this machine.
    TooLarge,
    /// The kernel refused a guard page; the stacks would be unguarded.
    Guard,
    /// The kernel is too old for guards without mappings of their own, and one more would come near
    /// its limit for a process, which other mappings need as well.
    Mappings {
        /// The limit: `vm.max_map_count`.
        limit: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::OutOfMemory => f.write_str("out of memory"),
            Error::Limit => f.write_str("memory limit reached"),
            Error::TooLarge => f.write_str("size or alignment too large"),
            Error::Guard => f.write_str("no guard page could be installed"),
            Error::Mappings { limit } => write!(
                f,
                "this kernel needs a mapping per guard page, and vm.max_map_count is {limit}"
            ),
        }
    }
}

impl core::error::Error for Error {}
