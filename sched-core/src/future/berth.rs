//! [`Berth`]: where a P's carrier rests.
//!
//! # Problem
//!
//! A carrier that finds no future to poll shall be at hand for the next one, and shall not hold up the
//! end of the scheduler: somebody who closes all berths must have every carrier that rests, and none may
//! come to rest afterwards.
//!
//! # How
//!
//! One word: empty, closed, or the carrier. All changes are read-modify-writes of it, so for each carrier
//! one of three things comes first: it is taken by the P's holder, to poll; it is taken by the closer, to
//! end; or it finds the berth closed (or occupied), and ends by itself.
//!
//! A P that is made after the closing has an open berth: whoever closes them all and whoever makes Ps
//! hold the same lock, and who comes second sees what the first did (`carrier`).
//!
//! Model: `loom-tests/tests/sched_future.rs`.

use core::{fmt, ptr::NonNull};

use crate::{
    queue::Handle,
    sync::{AtomicPtr, AtomicU8, Ordering},
};

/// A place for one item that can be closed. See the [module](self).
///
/// ```
/// use sched_core::future::berth::Berth;
///
/// let berth = Berth::new();
/// assert!(berth.rest(Box::new(1)).is_ok());
/// assert!(berth.rest(Box::new(2)).is_err(), "occupied");
/// assert_eq!(berth.take(), Some(Box::new(1)));
/// assert_eq!(berth.close(), None);
/// assert!(berth.rest(Box::new(3)).is_err(), "closed");
/// ```
pub struct Berth<H: Handle> {
    item: AtomicPtr<H::Target>,
    /// Its address stands for "closed".
    mark: AtomicU8,
}

impl<H: Handle> Berth<H> {
    /// An empty one.
    pub fn new() -> Self {
        Self { item: AtomicPtr::default(), mark: AtomicU8::new(0) }
    }

    fn closed(&self) -> *mut H::Target {
        core::ptr::from_ref(&self.mark).cast_mut().cast()
    }

    /// Puts `item` here; gives it back if there is one already, or the berth is closed.
    pub fn rest(&self, item: H) -> Result<(), H> {
        let raw = item.into_raw();
        // AcqRel: Release: the item, for whoever takes it. Acquire: what the closer did before.
        let swap = self.item.compare_exchange(
            core::ptr::null_mut(),
            raw.as_ptr(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        match swap {
            Ok(_) => Ok(()),
            // SAFETY: it went nowhere.
            Err(_) => Err(unsafe { H::from_raw(raw) }),
        }
    }

    /// Takes what rests here.
    pub fn take(&self) -> Option<H> {
        // Relaxed: a guess; the exchange settles it.
        let raw = self.item.load(Ordering::Relaxed);
        if raw.is_null() || raw == self.closed() {
            return None;
        }
        // Acquire: the item; pairs with `rest`. Relaxed: it went to the closer, and is nothing to us.
        let swap = self.item.compare_exchange(
            raw,
            core::ptr::null_mut(),
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        // SAFETY: this exchange took it out, so nobody else has it. (It may have been taken and put back
        // since the load: then it is the same item again.)
        swap.ok().and_then(NonNull::new).map(|raw| unsafe { H::from_raw(raw) })
    }

    /// Lets nothing rest here any more, and takes what does.
    pub fn close(&self) -> Option<H> {
        // AcqRel: Acquire: the item. Release: what the closer did, for those who find it closed.
        let raw = self.item.swap(self.closed(), Ordering::AcqRel);
        let raw = NonNull::new(raw).filter(|raw| raw.as_ptr() != self.closed());
        // SAFETY: the swap took it out.
        raw.map(|raw| unsafe { H::from_raw(raw) })
    }
}

impl<H: Handle> Default for Berth<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Handle> Drop for Berth<H> {
    fn drop(&mut self) {
        drop(self.close());
    }
}

impl<H: Handle> fmt::Debug for Berth<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Berth").finish_non_exhaustive()
    }
}
