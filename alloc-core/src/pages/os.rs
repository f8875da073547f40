//! Pages from the kernel by `mmap`.
//!
//! Arenas of 64 MiB are asked for at the addresses that Go uses, `0x00c0_0000_0000 + i·2⁴⁰`: they
//! are easy to spot in a dump, rarely valid UTF-8, and lie side by side, so free runs can join over
//! arena borders. The address is a hint only. If the kernel answers with another one, that is
//! taken too, with the surplus cut off where it is not aligned.
//!
//! A reservation is `PROT_NONE` and costs no memory; [`commit`](PageSource::commit) makes a prefix
//! of an arena readable and writable by `mprotect`, so an arena is at most two mappings. Contents go
//! back by `MADV_DONTNEED`: `MADV_FREE` does not lower the resident size until the kernel is short.
//!
//! A large block that must move takes its pages with it, by `mremap`: the kernel moves entries of the page
//! table, ten nanoseconds each, in place of 4 KiB.
//!
//! No call changes errno.

use core::{ops::Range, ptr::NonNull};

use super::{Guard, PageSource};
use crate::errno;
use crate::page_heap::Radix;
use crate::sync::{AtomicUsize, Ordering, const_fn};

/// `MADV_GUARD_INSTALL`, which libc does not name yet.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// Linux 5.7 has it; libc names it for some systems only.
const MREMAP_DONTUNMAP: libc::c_int = 4;

const ARENA: usize = 64 << 20;
const FIRST_HINT: usize = 0x00c0_0000_0000;
const HINT_STEP: usize = 1 << 40;
const HINTS: usize = 8;

/// Pages from the kernel.
///
/// ```
/// use std::alloc::Layout;
/// use alloc_core::{Heap, pages::os::Os};
/// let heap = Heap::new(Os::new());
/// let mut cache = heap.cache();
/// assert!(cache.alloc(Layout::new::<[u8; 100]>()).is_ok());
/// ```
#[derive(Debug)]
pub struct Os {
    /// Where the next arena is asked for: the end of the last one. Written by whoever reserves.
    next: AtomicUsize,
}

impl Os {
    const_fn! {
        /// A source that starts at the first hint.
        pub fn new() -> Self {
            Os { next: AtomicUsize::new(FIRST_HINT) }
        }
    }

    fn reserve_arena(&self, bytes: usize) -> Option<NonNull<u8>> {
        // Relaxed: the address is a hint, the kernel decides.
        let next = self.next.load(Ordering::Relaxed);
        let hints = core::iter::once(next).chain((0..HINTS).map(|i| FIRST_HINT + i * HINT_STEP));
        for hint in hints {
            let at = map(hint, bytes)?;
            if at.as_ptr() as usize == hint {
                // Relaxed: as above.
                self.next.store(hint + bytes, Ordering::Relaxed);
                return Some(at);
            }
            // SAFETY: the range was mapped by the line above and nobody knows of it.
            unsafe { unmap(at.as_ptr() as usize, bytes) };
        }
        reserve_aligned(bytes, ARENA)
    }
}

impl Default for Os {
    fn default() -> Self {
        Self::new()
    }
}

/// Reserves too much and cuts both ends off.
fn reserve_aligned(bytes: usize, align: usize) -> Option<NonNull<u8>> {
    let total = bytes.checked_add(align)?;
    let all = map(0, total)?.as_ptr() as usize;
    let at = all.next_multiple_of(align);
    // SAFETY: both cuts lie in the mapping just made, outside the part that is returned.
    unsafe {
        unmap(all, at - all);
        unmap(at + bytes, all + total - at - bytes);
    }
    NonNull::new(at as *mut u8)
}

fn map(hint: usize, bytes: usize) -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: without MAP_FIXED the kernel picks a free range, so no mapping is replaced.
    let at =
        errno::kept(|| unsafe { libc::mmap(hint as *mut _, bytes, libc::PROT_NONE, flags, -1, 0) });
    if at == libc::MAP_FAILED { None } else { NonNull::new(at.cast()) }
}

/// # Safety
///
/// The range is mapped, belongs to the caller, and nobody uses it.
unsafe fn unmap(at: usize, bytes: usize) {
    if bytes > 0 {
        // SAFETY: promised by the caller. It fails only if the kernel has no room to split a
        // mapping; then address space stays reserved, which costs no memory.
        errno::kept(|| unsafe { libc::munmap(at as *mut _, bytes) });
    }
}

// SAFETY: the kernel gives each range to one caller (1), fresh anonymous pages read as zero (2), and
// so do those behind MADV_DONTNEED (3); system calls neither allocate here nor unwind (4); the
// two figures are constants (5); both kinds of guard fault and last as long as the mapping (6); pages that
// `mremap` has moved away leave an anonymous mapping without pages behind (7).
unsafe impl PageSource for Os {
    type Index = Radix;

    fn addresses(&self) -> Range<usize> {
        0..1 << 48
    }

    fn arena_bytes(&self) -> usize {
        ARENA
    }

    fn reserve(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        if align == ARENA { self.reserve_arena(bytes) } else { reserve_aligned(bytes, align) }
    }

    unsafe fn commit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the caller owns the range, which is not in use yet.
        errno::kept(|| unsafe { libc::mprotect(at.as_ptr().cast(), bytes, access) == 0 })
    }

    unsafe fn decommit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: nobody needs the contents, says the caller. It fails for locked pages
        // (mlockall), which then keep what they hold.
        errno::kept(|| unsafe {
            libc::madvise(at.as_ptr().cast(), bytes, libc::MADV_DONTNEED) == 0
        })
    }

    unsafe fn close(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: nobody uses the range, says the caller. It fails where the kernel has no room to
        // split a mapping.
        errno::kept(|| unsafe { libc::mprotect(at.as_ptr().cast(), bytes, libc::PROT_NONE) == 0 })
    }

    unsafe fn open(&self, at: NonNull<u8>, bytes: usize) -> bool {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range is committed and the caller's.
        errno::kept(|| unsafe { libc::mprotect(at.as_ptr().cast(), bytes, access) == 0 })
    }

    unsafe fn relocate(&self, from: NonNull<u8>, to: NonNull<u8>, bytes: usize) -> bool {
        // The old range stays mapped, so that nobody else's mapping can come to lie there.
        let how = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | MREMAP_DONTUNMAP;
        let (from, to) = (from.as_ptr().cast(), to.as_ptr());
        // SAFETY: both ranges are the caller's and nobody uses them. The kernel refuses a range that earlier
        // calls have made of several mappings, and then the caller copies.
        errno::kept(|| unsafe { libc::mremap(from, bytes, bytes, how, to) == to.cast() })
    }

    unsafe fn release(&self, at: NonNull<u8>, bytes: usize) {
        // SAFETY: passed on.
        unsafe { unmap(at.as_ptr() as usize, bytes) }
    }

    unsafe fn touch_singly(&self, at: NonNull<u8>, bytes: usize) {
        // SAFETY: advice on a range of the caller's; kernels without huge pages refuse it, rightly.
        errno::kept(|| unsafe { libc::madvise(at.as_ptr().cast(), bytes, libc::MADV_NOHUGEPAGE) });
    }

    unsafe fn guard(&self, at: NonNull<u8>, bytes: usize, how: Guard) -> bool {
        let at = at.as_ptr().cast();
        // SAFETY: nobody uses the range, says the caller; the kernel does it whole or not at all.
        let refusal = errno::kept(|| unsafe {
            match how {
                Guard::Mark => libc::madvise(at, bytes, MADV_GUARD_INSTALL),
                Guard::Mapping => libc::mprotect(at, bytes, libc::PROT_NONE),
            }
        });
        refusal == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_refuses_leaves_errno_alone() {
        // Behind the end of what a process may map.
        let [at, other] = [1_usize << 50, 1 << 51].map(|at| NonNull::new(at as *mut u8).unwrap());
        let os = Os::new();
        // SAFETY: errno is this thread's. Of the range there is nothing, so nothing is done to it.
        unsafe {
            *libc::__errno_location() = 5;
            assert!(os.reserve(1 << 56, ARENA).is_none() && os.reserve(1 << 56, 1 << 13).is_none());
            assert!(!os.commit(at, 1 << 13) && !os.decommit(at, 1 << 13));
            assert!(!os.close(at, 1 << 13) && !os.open(at, 1 << 13));
            assert!(!os.relocate(at, other, 1 << 13));
            os.touch_singly(at, 1 << 13);
            assert!(
                [Guard::Mark, Guard::Mapping].map(|how| os.guard(at, 1 << 13, how)) == [false; 2]
            );
            os.release(at, 1 << 13);
            assert_eq!(*libc::__errno_location(), 5);
        }
    }
}
