//! libc's dynamic thread vector: where a thread's copy of each module's TLS lies.
//!
//! ```text
//!            ┌──────────────┐
//!  dtv - 1   │ capacity     │
//!  dtv ────► │ generation   │   the thread's header points here
//!  dtv + 1   │ val, to_free │   module 1: the executable
//!  dtv + 2   │ val, to_free │   module 2, …
//!            └──────────────┘
//! ```
//!
//! `val` is the block's address, or [`UNALLOCATED`]; `to_free` is what `malloc` gave for it, null
//! for a module in static TLS. libc grows the vector with `realloc`, so it must be libc's own to
//! begin with; we only move it between headers and give blocks back.

use core::ffi::c_void;
use core::ops::Range;
use core::ptr::null_mut;

/// `TLS_DTV_UNALLOCATED`: the module's block is made at first use.
const UNALLOCATED: usize = usize::MAX;

#[repr(C)]
struct Entry {
    val: usize,
    to_free: *mut c_void,
}

/// A thread's dtv, as its header points to it.
#[derive(Clone, Copy)]
pub(super) struct Dtv(*mut Entry);

impl Dtv {
    /// # Safety
    ///
    /// `header` is the address of a live pointer to a dtv, which nobody else uses meanwhile.
    pub(super) unsafe fn of(header: usize) -> Dtv {
        // SAFETY: the caller's promise.
        Dtv(unsafe { *(header as *const *mut Entry) })
    }

    /// What goes into a thread's header.
    pub(super) fn address(self) -> usize {
        self.0 as usize
    }

    fn capacity(self) -> usize {
        // SAFETY: `of`'s caller: a dtv has its capacity before entry 0.
        unsafe { (*self.0.sub(1)).val }
    }

    /// Where module `id`'s block lies, if the vector has such a module.
    pub(super) fn block(self, id: usize) -> Option<usize> {
        // SAFETY: entries 1..=capacity exist.
        (1..=self.capacity()).contains(&id).then(|| unsafe { (*self.0.add(id)).val })
    }

    fn entries(self) -> impl Iterator<Item = &'static mut Entry> {
        // SAFETY: entries 1..=capacity exist, each is visited once, and `of`'s caller keeps
        // others away; the references do not leave this file.
        (1..=self.capacity()).map(move |id| unsafe { &mut *self.0.add(id) })
    }

    /// Every block that lies in `old` is now at the same place of a region that begins at `new`.
    pub(super) fn rebase(self, old: Range<usize>, new: usize) {
        for entry in self.entries().filter(|entry| old.contains(&entry.val)) {
            entry.val = entry.val - old.start + new;
        }
    }

    /// Gives all dynamically allocated blocks back to libc: the next use makes a fresh one.
    pub(super) fn free_dynamic(self) {
        for entry in self.entries().filter(|entry| !entry.to_free.is_null()) {
            // SAFETY: libc allocated it for this thread alone, whose destructors have run.
            unsafe { libc::free(entry.to_free) };
            *entry = Entry { val: UNALLOCATED, to_free: null_mut() };
        }
    }

    /// Gives the vector itself back as well.
    ///
    /// # Safety
    ///
    /// The block it belongs to is never used again.
    pub(super) unsafe fn free(self) {
        self.free_dynamic();
        // SAFETY: the allocation begins one entry before; the caller's promise.
        unsafe { libc::free(self.0.sub(1).cast()) };
    }
}
