//! Stacks: where they come from, and the slots made of them.
//!
//! # Problem
//!
//! A million goroutines want a million stacks, each deep enough for any Rust code, each guarded,
//! and together no more memory than they touch. And a stack must be had in nanoseconds, in the
//! middle of the scheduler, where neither libc nor the kernel may be asked.
//!
//! # Answer
//!
//! * A [`StackSource`] reserves *slabs* of address space. Pages come by touch, nothing is promised
//!   by the kernel (`MAP_NORESERVE`), and one page per slot is a guard.
//! * A slot is a piece of a slab with everything a goroutine needs to run: stack, TLS block (or a
//!   waiting kernel thread, in thread mode), context, words. [`Slots`] keeps a stock of them.
//! * Making one needs libc and the kernel, and is done ahead of time by a thread of its own
//!   ([`Slots::prepare`]). Taking and giving back is a list operation under a lock.
//! * What a deep call touched is given back once its slot has lain in the stock for a while
//!   ([`Slots::grow_older`]).
//!
//! | file | job |
//! |---|---|
//! | `mmap` | the source over mmap, guards by madvise or mprotect |
//! | `slab` | cuts slabs into slots |
//! | `slot` | one slot: its record, arming it, running on it |
//! | `thread` | thread mode: the kernel thread of a slot |
//! | `slots` | the stock |
//!
//! Slots are never unmapped while their [`Slots`] lives, and what lies in them stays typed: a
//! taker or a dump may look at the words of a goroutine that has just ended.

use core::fmt;
use core::ptr::NonNull;

mod list;
mod mmap;
mod slab;
mod slot;
mod slots;
mod thread;

pub use mmap::Mmap;
pub use slot::{Body, Finish, Slot};
pub(crate) use slots::Shelf;
pub use slots::{LARGEST_STACK, Slots, SlotsConfig};

/// Where stacks' memory comes from.
///
/// # Safety
///
/// 1. `reserve` returns `bytes` of memory that is readable, writable, zeroed, aligned to a page,
///    and nobody else's until it is released.
/// 2. After `guard` returned `Ok`, any access to that page faults, until the slab is released.
/// 3. After `discard` the range can still be read and written; what it reads as is not promised.
/// 4. No method unwinds.
///
/// ```
/// use sched_core::stack::{Mmap, StackSource};
///
/// let source = Mmap::new();
/// let slab = source.reserve(1 << 20)?;
/// // SAFETY: nobody uses the slab, and one page of it is guarded.
/// unsafe {
///     source.guard(slab)?;
///     source.release(slab, 1 << 20, 1);
/// }
/// # Ok::<(), sched_core::stack::StackError>(())
/// ```
pub unsafe trait StackSource: Send + Sync {
    /// Reserves a slab of `bytes`, a multiple of the page size.
    fn reserve(&self, bytes: usize) -> Result<NonNull<u8>, StackError>;

    /// Makes the page at `page` inaccessible.
    ///
    /// # Safety
    ///
    /// The page lies in a slab that came from `reserve`, and nobody uses it.
    unsafe fn guard(&self, page: NonNull<u8>) -> Result<(), StackError>;

    /// Tells that the contents of `bytes` at `pages`, whole pages of the machine, are no longer needed,
    /// so that their memory may go back.
    ///
    /// # Safety
    ///
    /// The range lies in a slab that came from `reserve`, has no guard, and nobody uses it.
    unsafe fn discard(&self, pages: NonNull<u8>, bytes: usize);

    /// Gives a slab back.
    ///
    /// # Safety
    ///
    /// `slab` came from `reserve(bytes)`, `guards` pages of it are guarded, and nobody uses it any
    /// more.
    unsafe fn release(&self, slab: NonNull<u8>, bytes: usize, guards: usize);
}

/// Why a stack could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StackError {
    /// The kernel gave no address space.
    NoMemory,
    /// The source has a limit of memory, which leaves no room for more.
    Limit {
        /// The limit.
        bytes: usize,
    },
    /// The kernel is too old for guards inside a mapping, and one more guard by `mprotect` would
    /// come near `vm.max_map_count`, which other mappings need as well.
    TooManyMappings {
        /// The limit of the system.
        limit: usize,
    },
    /// The kernel refused a guard page.
    NoGuard,
    /// libc could not make a TLS block.
    NoTls(&'static str),
    /// Thread mode: a kernel thread could not be started (the error number).
    NoThread(i32),
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StackError::NoMemory => f.write_str("no address space for stacks"),
            StackError::Limit { bytes } => write!(
                f,
                "the memory limit of {bytes} bytes leaves no room for more stacks: raise it, \
                 or give goroutines smaller ones"
            ),
            StackError::TooManyMappings { limit } => write!(
                f,
                "this kernel needs a mapping per stack guard, and vm.max_map_count is {limit}"
            ),
            StackError::NoGuard => f.write_str("a stack could not be guarded"),
            StackError::NoTls(why) => write!(f, "no thread-local storage for a stack: {why}"),
            StackError::NoThread(error) => {
                write!(f, "no thread for a stack: {}", std::io::Error::from_raw_os_error(*error))
            }
        }
    }
}

impl core::error::Error for StackError {}

/// The page size of the machine, in bytes.
pub(crate) fn page_bytes() -> usize {
    // SAFETY: no preconditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}
