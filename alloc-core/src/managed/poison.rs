//! Poison in free cells: who writes to an object that was freed is found, and who reads it reads nonsense.
//!
//! A collector that frees an object too early breaks far from the mistake: somebody finds another object in
//! its place. A heap that was [told to](Heap::poison_managed) fills the cells of a span with [`POISON`] when
//! the span is made, and each that is swept, or whose destructor has run. Before cells are handed out again,
//! it looks whether the poison is whole; who wrote there held a pointer to the dead.
//!
//! # No cost when it is off
//!
//! A span knows whether it is poisoned, so the switch holds for spans made after it. A cache hands cells out
//! without a question. It reserves up to 64 at once, under the span's lock, and there they are looked at: a
//! write that comes between that and the taking of the cell is not found.

use core::{fmt, slice};

use super::class::ClassSpec;
use crate::{Heap, harden::POISON, pages::PageSource};

/// A free cell that somebody has written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spoilt {
    /// Where the cell begins.
    pub cell: usize,
    /// Its first byte that is not poison any more, and what it is.
    pub offset: usize,
    /// See `offset`.
    pub found: u8,
    /// What cells of its class are like.
    pub class: ClassSpec,
}

impl fmt::Display for Spoilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cell, offset, found, class } = self;
        let size = class.size;
        write!(f, "write after free: {found:#04x} at byte {offset} of {size} at {cell:#x}")
    }
}

/// What is done about one.
pub(crate) type Report = fn(&Spoilt);

impl<S: PageSource> Heap<S> {
    /// Poisons the free cells of collected spans that are made from now on, and calls `found` for each that
    /// was written to, before it is handed out; or stops doing so.
    ///
    /// `found` is called under a lock of the heap, and must not use it. If it returns, the cell is handed out
    /// all the same.
    ///
    /// ```
    /// use alloc_core::{Heap, managed::ClassSpec, pages::os::Os};
    /// use std::sync::Mutex;
    ///
    /// static SEEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    /// let heap = Heap::new(Os::new());
    /// heap.poison_managed(Some(|spoilt| SEEN.lock().unwrap().push(spoilt.offset)));
    /// let spec = ClassSpec { size: 32, align: 8, drop: false, owner: 7 };
    /// let (class, mut cache) = (heap.class(spec)?, heap.managed_cache());
    /// // SAFETY: there is one cycle after another; what is written to a dead cell is the mistake that is
    /// // to be found.
    /// unsafe {
    ///     let kept = cache.take(class, 0)?.cell;
    ///     let dead = cache.take(class, 0)?.cell;
    ///     heap.find(kept.as_ptr() as usize).unwrap().mark();
    ///     heap.begin_cycle(1);
    ///     heap.permit_sweep();
    ///     assert!(heap.sweep(1));
    ///     dead.add(5).write(1);
    ///     cache.take(class, 1)?;
    /// }
    /// assert_eq!(*SEEN.lock().unwrap(), [5]);
    /// # Ok::<(), alloc_core::Error>(())
    /// ```
    pub fn poison_managed(&self, found: Option<fn(&Spoilt)>) {
        self.managed.registry.lock().poison = found;
    }
}

/// Fills free memory.
///
/// # Safety
///
/// It is the caller's, and has that many bytes.
pub(super) unsafe fn fill(start: usize, bytes: usize) {
    // SAFETY: the caller's.
    unsafe { (start as *mut u8).write_bytes(POISON, bytes) };
}

/// The first byte of a free cell that is not poison any more, and what it is.
///
/// # Safety
///
/// The cell was filled, is the caller's, and has that many bytes.
pub(super) unsafe fn spoilt(cell: usize, bytes: usize) -> Option<(usize, u8)> {
    // SAFETY: the caller's. Whoever writes to it all the same is who we look for.
    let bytes = unsafe { slice::from_raw_parts(cell as *const u8, bytes) };
    bytes.iter().copied().enumerate().find(|&(_, byte)| byte != POISON)
}
