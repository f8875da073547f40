//! Slabs of guarded stacks: address space for many stacks in one mapping, on the heap's account.
//!
//! ```text
//!   ┌───────┬──────────────────┬───────┬──────────────────┬─
//!   │ guard │ slot 0           │ guard │ slot 1           │ …      stacks grow down to their guard
//!   └───────┴──────────────────┴───────┴──────────────────┴─
//! ```
//!
//! A slab is one `MAP_NORESERVE` mapping: a page has memory once it is touched. Huge pages are
//! refused before the first touch, else one touched byte would make a whole slot resident. Each slot
//! starts with one guard page, made by `MADV_GUARD_INSTALL` (Linux 6.13), which keeps the slab one
//! mapping; on older kernels by `mprotect`, which splits it, until `vm.max_map_count` is near.
//! Then the slab is refused: a stack is never silently unguarded.
//!
//! A scheduler's own type wraps a [`Slab`] and pools its slots; this file knows neither.

use core::{fmt, ops::Range, ptr};

use crate::{Error, Heap, pages::PageSource};

/// `MADV_GUARD_INSTALL`, which libc does not name yet.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// A mapping of equal slots, each with a guard page at its low end.
///
/// ```
/// use alloc_core::{Heap, pages::os::Os, stack::Slab};
/// let heap = Heap::new(Os::new());
/// let slab = Slab::new(&heap, 4, 64 << 10).unwrap();
/// let slot = slab.slot(3);
/// assert!(slot.len() < 64 << 10 && slot.end % 16 == 0);
/// assert_eq!(heap.stats().stacks, 4 * (64 << 10));
/// drop(slab);
/// assert_eq!(heap.stats().stacks, 0);
/// ```
pub struct Slab<'h, S> {
    heap: &'h Heap<S>,
    base: usize,
    slots: usize,
    slot_bytes: usize,
    guard: usize,
}

impl<S> fmt::Debug for Slab<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab")
            .field("base", &(self.base as *const u8))
            .field("slots", &self.slots)
            .field("slot_bytes", &self.slot_bytes)
            .finish_non_exhaustive()
    }
}

impl<'h, S: PageSource> Slab<'h, S> {
    /// Maps `slots` slots of `slot_bytes` bytes each, the guard page included.
    ///
    /// `slot_bytes` is rounded up to whole pages, and to two at least.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`] without address space, [`Error::Guard`] if a guard page is refused.
    pub fn new(heap: &'h Heap<S>, slots: usize, slot_bytes: usize) -> Result<Self, Error> {
        let guard = page_bytes();
        let slot_bytes = slot_bytes.checked_next_multiple_of(guard).ok_or(Error::TooLarge)?;
        let slot_bytes = slot_bytes.max(2 * guard);
        let bytes = slot_bytes.checked_mul(slots).ok_or(Error::TooLarge)?;
        let base = map(bytes)?;
        heap.counters.stacks.add(bytes);
        // From here on, dropping the slab undoes the mapping.
        let slab = Slab { heap, base, slots, slot_bytes, guard };
        (0..slots).try_for_each(|slot| install_guard(base + slot * slot_bytes, guard))?;
        Ok(slab)
    }
}

impl<S> Slab<'_, S> {
    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The usable addresses of a slot, without its guard page.
    ///
    /// # Panics
    ///
    /// If there is no such slot.
    pub fn slot(&self, slot: usize) -> Range<usize> {
        assert!(slot < self.slots, "slot {slot} of {}", self.slots);
        let start = self.base + slot * self.slot_bytes;
        start + self.guard..start + self.slot_bytes
    }

    /// Gives the memory behind part of a slot back; it reads as zero when it is touched again.
    ///
    /// # Safety
    ///
    /// `range` lies in one slot of this slab, starts and ends at a page, and nobody needs its
    /// contents.
    pub unsafe fn discard(&self, range: Range<usize>) {
        // SAFETY: promised by the caller. A failure leaves the memory where it is.
        unsafe { libc::madvise(range.start as *mut _, range.len(), libc::MADV_DONTNEED) };
    }
}

impl<S> Drop for Slab<'_, S> {
    fn drop(&mut self) {
        let bytes = self.slots * self.slot_bytes;
        self.heap.counters.stacks.sub(bytes);
        // SAFETY: the mapping was made by `new` and is ours; slots are only handed out as addresses,
        // whose users vouch for them.
        unsafe { libc::munmap(self.base as *mut _, bytes) };
    }
}

fn map(bytes: usize) -> Result<usize, Error> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel picks a free range, so no mapping is replaced.
    let at = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(Error::OutOfMemory);
    }
    // SAFETY: advice on the mapping just made; kernels without huge pages refuse it, rightly.
    unsafe { libc::madvise(at, bytes, libc::MADV_NOHUGEPAGE) };
    Ok(at as usize)
}

fn install_guard(at: usize, bytes: usize) -> Result<(), Error> {
    // SAFETY: the page lies in a fresh slab that nobody uses yet.
    let guarded = unsafe {
        libc::madvise(at as *mut _, bytes, MADV_GUARD_INSTALL) == 0
            || libc::mprotect(at as *mut _, bytes, libc::PROT_NONE) == 0
    };
    if guarded { Ok(()) } else { Err(Error::Guard) }
}

/// Bytes of a page of the kernel's, asked at run time.
fn page_bytes() -> usize {
    // SAFETY: the call has no preconditions.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}
