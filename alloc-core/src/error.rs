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
    /// The size or the alignment cannot be served by any heap of this machine.
    TooLarge,
    /// The kernel refused a guard page; the stacks would be unguarded.
    Guard,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::OutOfMemory => "out of memory",
            Error::TooLarge => "size or alignment too large",
            Error::Guard => "no guard page could be installed",
        })
    }
}

impl core::error::Error for Error {}
