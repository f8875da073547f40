//! Stacks from mmap.
//!
//! A slab is one mapping: `MAP_NORESERVE`, so that it costs address space only, and
//! `MADV_NOHUGEPAGE` before the first touch, or one touched byte would make two megabytes resident
//! where huge pages are always on.
//!
//! Guards are `MADV_GUARD_INSTALL` (Linux 6.13): marks in the page table, no mapping of their own,
//! so a million stacks are one mapping. Older kernels need `mprotect`, which splits the mapping:
//! two per stack, and the kernel's limit for a process (`vm.max_map_count`, 65,530 by default) is
//! shared with everything else. So the fallback stops with a clear error while a quarter is left.
//! A stack without a guard is never an answer.

use core::ffi::c_void;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::fs;

use super::{StackError, StackSource, page_bytes};

/// `MADV_GUARD_INSTALL`, which libc's headers do not have yet.
const MADV_GUARD_INSTALL: i32 = 102;
const DEFAULT_MAX_MAP_COUNT: usize = 65_530;

/// The source over anonymous mappings.
#[derive(Debug)]
pub struct Mmap {
    page: usize,
    /// Whether the kernel has guards in the page table; cleared at its first refusal.
    light_guards: AtomicBool,
    /// Guards made by `mprotect`, each of which costs two mappings.
    heavy_guards: AtomicUsize,
    max_map_count: usize,
}

impl Mmap {
    /// Asks the kernel for its limits; maps nothing.
    pub fn new() -> Mmap {
        Mmap {
            page: page_bytes(),
            light_guards: AtomicBool::new(true),
            heavy_guards: AtomicUsize::new(0),
            max_map_count: max_map_count(),
        }
    }

    /// A source that pretends to be on a kernel before 6.13 with the given limit of mappings.
    pub fn with_mprotect(max_map_count: usize) -> Mmap {
        Mmap { light_guards: AtomicBool::new(false), max_map_count, ..Mmap::new() }
    }

    /// # Safety
    ///
    /// As [`StackSource::guard`].
    unsafe fn guard_by_mprotect(&self, page: NonNull<u8>) -> Result<(), StackError> {
        // Relaxed: a count; the limit is approximate anyway.
        let mappings = 2 * self.heavy_guards.fetch_add(1, Ordering::Relaxed);
        if mappings >= self.max_map_count / 4 * 3 {
            // Relaxed: as above.
            self.heavy_guards.fetch_sub(1, Ordering::Relaxed);
            return Err(StackError::TooManyMappings { limit: self.max_map_count });
        }
        // SAFETY: the caller's page, unused.
        let failed = unsafe { libc::mprotect(page.as_ptr().cast(), self.page, libc::PROT_NONE) };
        if failed == 0 { Ok(()) } else { Err(StackError::NoGuard) }
    }
}

impl Default for Mmap {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: fresh anonymous mappings are zeroed, writable and nobody else's; both kinds of guard
// fault on any access and last until the mapping goes.
unsafe impl StackSource for Mmap {
    fn reserve(&self, bytes: usize) -> Result<NonNull<u8>, StackError> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping touches nobody's memory.
        let slab = unsafe { libc::mmap(null_mut(), bytes, access, flags, -1, 0) };
        if slab == libc::MAP_FAILED {
            return Err(StackError::NoMemory);
        }
        // SAFETY: our own mapping. The advice is refused where there are no huge pages: fine.
        unsafe { libc::madvise(slab, bytes, libc::MADV_NOHUGEPAGE) };
        NonNull::new(slab.cast()).ok_or(StackError::NoMemory)
    }

    unsafe fn guard(&self, page: NonNull<u8>) -> Result<(), StackError> {
        // Relaxed: a hint that changes once; the kernel has the last word.
        if self.light_guards.load(Ordering::Relaxed) {
            let at = page.as_ptr().cast::<c_void>();
            // SAFETY: the caller's page, unused.
            if unsafe { libc::madvise(at, self.page, MADV_GUARD_INSTALL) } == 0 {
                return Ok(());
            }
            // Relaxed: as above.
            self.light_guards.store(false, Ordering::Relaxed);
        }
        // SAFETY: the caller's promise.
        unsafe { self.guard_by_mprotect(page) }
    }

    unsafe fn discard(&self, pages: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's pages, unused. A refusal leaves them as they are, which is allowed.
        unsafe { libc::madvise(pages.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
    }

    unsafe fn release(&self, slab: NonNull<u8>, bytes: usize, guards: usize) {
        // SAFETY: the caller's mapping, unused.
        unsafe { libc::munmap(slab.as_ptr().cast(), bytes) };
        // Relaxed, both: a count. With light guards nothing was counted.
        if !self.light_guards.load(Ordering::Relaxed) {
            let less = |count: usize| Some(count.saturating_sub(guards));
            let _ = self.heavy_guards.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}

fn max_map_count() -> usize {
    fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(DEFAULT_MAX_MAP_COUNT)
}
