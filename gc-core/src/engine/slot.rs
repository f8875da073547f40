//! [`Slot`]: an untyped place for a pointer between objects, and what its accesses order. The barrier is
//! the [engine](super)'s.

use crate::sync::{AtomicPtr, Ordering};
use core::ptr::{self, NonNull};

/// The address of an object, or none.
pub type Link = Option<NonNull<u8>>;

fn raw(link: Link) -> *mut u8 {
    link.map_or(ptr::null_mut(), NonNull::as_ptr)
}

/// An untyped place for a pointer between objects.
#[derive(Debug)]
pub struct Slot(AtomicPtr<u8>);

impl Slot {
    /// A slot with a first value. Initialising needs no barrier: nothing is taken out.
    #[cfg(not(loom))]
    pub const fn new(link: Link) -> Self {
        match link {
            Some(cell) => Self(AtomicPtr::new(cell.as_ptr())),
            None => Self(AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// A slot with a first value. Initialising needs no barrier: nothing is taken out.
    #[cfg(loom)]
    pub fn new(link: Link) -> Self {
        Self(AtomicPtr::new(raw(link)))
    }

    /// What the slot holds.
    #[inline(always)]
    pub fn load(&self) -> Link {
        // Acquire: brings the object's contents; pairs with the stores below.
        NonNull::new(self.0.load(Ordering::Acquire))
    }

    /// Takes the value out of a slot that is no edge, and so without the barrier.
    pub(crate) fn empty(&self) {
        // Relaxed: who finds nothing looks at nothing.
        self.0.store(ptr::null_mut(), Ordering::Relaxed);
    }

    /// Exchanges the value.
    #[inline(always)]
    pub(super) fn swap(&self, new: Link) -> Link {
        // AcqRel: Release publishes the new object's contents, Acquire brings the old one's;
        // pairs with `load` and with the other stores.
        NonNull::new(self.0.swap(raw(new), Ordering::AcqRel))
    }

    /// Replaces `current`; `Err` of what is there, if that is another.
    #[inline(always)]
    pub(super) fn compare_exchange(&self, current: Link, new: Link) -> Result<Link, Link> {
        // AcqRel and Acquire: as in `swap`; the failure case is a load.
        self.0
            .compare_exchange(raw(current), raw(new), Ordering::AcqRel, Ordering::Acquire)
            .map(NonNull::new)
            .map_err(NonNull::new)
    }

    /// Puts a first value into an empty slot that nobody deletes from meanwhile.
    pub fn fill(&self, link: Link) {
        // Release: publishes the object's contents; pairs with `load`.
        self.0.store(raw(link), Ordering::Release);
    }
}
