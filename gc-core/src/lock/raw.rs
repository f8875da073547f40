//! [`RawLock`]: the word of a lock, and who may do what to it.
//!
//! ```text
//!   63            32 31            2    1       0
//!  ┌────────────────┬───────────────┬──────┬───────────┐
//!  │ tracers        │ readers       │ WAIT │ EXCLUSIVE │
//!  └────────────────┴───────────────┴──────┴───────────┘
//! ```
//!
//! - *EXCLUSIVE*: one writer. Set when it and the readers are 0, whatever the tracers are; the writer
//!   then waits until these are gone, and none comes in any more.
//! - *readers*: come in while nobody is exclusive, and give way to a writer that waits.
//! - *tracers*: the marker, checkmark, a dump. Come in while nobody is exclusive, waiting writers or
//!   not, and turn away otherwise. Nobody parks because of them, so that they need not wake anybody: a
//!   writer that meets one naps. They are out after one pass over the interior.
//! - *WAIT*: somebody is in the [`Lot`](super::Lot), or about to be: who unlocks looks there.
//!
//! # Who sleeps is woken
//!
//! ```text
//!   waiter, under the lot's lock            unlocker
//!     word |= WAIT, what was it?              word −= mine, what was it?
//!     free: not in, try again                 WAIT: under the lot's lock take the first out,
//!     held: in; leave; park                         clear WAIT if it was the last; wake it
//! ```
//!
//! Both change one word. Either the waiter's change is first: then the unlocker sees WAIT and looks
//! into the lot after the waiter is in. Or the unlocker's is first: then the waiter sees a free lock.
//! Model: `loom-tests/tests/gc_lock.rs`.
//!
//! # Source
//!
//! The word is parking_lot's in spirit; that tracers stand beside it is ours.

use crate::sync::{AtomicU64, Ordering};

const EXCLUSIVE: u64 = 1;
const WAIT: u64 = 2;
const READER: u64 = 4;
const TRACER: u64 = 1 << 32;
const READERS: u64 = TRACER - READER;

/// The word of a lock. See the [module](self).
///
/// ```
/// use gc_core::lock::raw::{RawLock, Want};
///
/// let lock = RawLock::new();
/// assert!(lock.try_take(Want::Shared) && lock.try_take(Want::Shared));
/// assert!(!lock.try_take(Want::Exclusive));
/// assert!(!lock.leave(Want::Shared) && !lock.leave(Want::Shared), "nobody is to be woken");
/// assert!(lock.try_take(Want::Exclusive));
/// ```
#[derive(Debug)]
pub struct RawLock(AtomicU64);

impl Default for RawLock {
    fn default() -> Self {
        Self::new()
    }
}

/// What a task wants of a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// To be alone.
    Exclusive,
    /// To read beside others.
    Shared,
}

impl Want {
    /// Whether the word lets it in.
    fn fits(self, word: u64) -> bool {
        match self {
            Want::Exclusive => word & (EXCLUSIVE | READERS) == 0,
            // A free lock is taken whoever waits: a waiter that was woken is on its way, and may have
            // nobody else to wake it.
            Want::Shared => {
                word & EXCLUSIVE == 0
                    && (word & WAIT == 0 || word & READERS == 0)
                    && word & READERS != READERS
            }
        }
    }

    fn unit(self) -> u64 {
        match self {
            Want::Exclusive => EXCLUSIVE,
            Want::Shared => READER,
        }
    }
}

impl RawLock {
    /// A free lock.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A free lock.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Takes the lock if it is free now. Who is exclusive then waits until
    /// [`is_traced`](Self::is_traced) says no.
    #[inline]
    pub fn try_take(&self, want: Want) -> bool {
        // Relaxed: a first guess; the exchange decides.
        let mut word = self.0.load(Ordering::Relaxed);
        while want.fits(word) {
            // Acquire: sees what the last holder did; pairs with `leave`. Relaxed: as above.
            match self.0.compare_exchange_weak(
                word,
                word + want.unit(),
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Gives the lock back. True: somebody waits, and is to be woken.
    #[inline]
    #[must_use = "who waits is woken by nobody else"]
    pub fn leave(&self, held: Want) -> bool {
        // Release: shows the next holder, and tracers, what was done under the lock; pairs with
        // `try_take` and `trace`.
        let word = self.0.fetch_sub(held.unit(), Ordering::Release);
        debug_assert!(word & (EXCLUSIVE | READERS) != 0, "a lock is given back by who holds it");
        let free = held == Want::Exclusive || word & READERS == READER;
        free && word & WAIT != 0
    }

    /// Announces a waiter; false if the lock is to be had now. Called under the lot's lock.
    pub fn announce(&self, want: Want) -> bool {
        // Relaxed: that one of the two sees the other follows from the word's own order; the lot's
        // lock orders the rest.
        let word = self.0.fetch_or(WAIT, Ordering::Relaxed);
        // With its own WAIT a reader would turn away from other readers, whom it may join.
        !want.fits(word)
    }

    /// Nobody waits any more. Called under the lot's lock.
    pub fn nobody_waits(&self) {
        // Relaxed: as in `announce`.
        self.0.fetch_and(!WAIT, Ordering::Relaxed);
    }

    /// Whether a tracer is inside. Asked by the exclusive holder, until none is.
    #[inline]
    pub fn is_traced(&self) -> bool {
        // Acquire: what the tracer read, it read before; pairs with its leaving.
        self.0.load(Ordering::Acquire) >= TRACER
    }

    /// Calls `f` beside readers, unless somebody is exclusive. Never waits.
    #[inline]
    pub fn trace(&self, f: impl FnOnce()) -> bool {
        // Relaxed: a first guess.
        let mut word = self.0.load(Ordering::Relaxed);
        while word & EXCLUSIVE == 0 {
            // Acquire: sees what the last writer did; pairs with `leave`. Relaxed: as above.
            match self.0.compare_exchange_weak(
                word,
                word + TRACER,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    // Out again if `f` unwinds, which it promised not to.
                    let _inside = Tracing(self);
                    f();
                    return true;
                }
                Err(now) => word = now,
            }
        }
        false
    }
}

struct Tracing<'a>(&'a RawLock);

impl Drop for Tracing<'_> {
    fn drop(&mut self) {
        // Release: the reads are before the next writer's stores; pairs with `is_traced`.
        self.0.0.fetch_sub(TRACER, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Want::*, *};

    #[test]
    fn one_writer_or_many_readers() {
        let lock = RawLock::new();
        assert!(lock.try_take(Shared) && lock.try_take(Shared) && !lock.try_take(Exclusive));
        assert!(!lock.leave(Shared) && !lock.leave(Shared));
        assert!(lock.try_take(Exclusive) && !lock.try_take(Shared) && !lock.try_take(Exclusive));
        assert!(!lock.leave(Exclusive));
        assert!(lock.try_take(Shared));
    }

    #[test]
    fn a_reader_gives_way_to_a_writer_that_waits() {
        let lock = RawLock::new();
        assert!(lock.try_take(Shared) && lock.announce(Exclusive));
        assert!(!lock.try_take(Shared), "a writer waits");
        assert!(lock.leave(Shared), "and is to be woken");
        assert!(lock.try_take(Shared), "a free lock is anybody's");
        lock.nobody_waits();
        assert!(!lock.leave(Shared));
    }

    #[test]
    fn who_announces_himself_at_a_free_lock_has_no_need_to_wait() {
        let lock = RawLock::new();
        assert!(!lock.announce(Exclusive));
        assert!(lock.try_take(Exclusive) && lock.leave(Exclusive));
    }

    #[test]
    fn a_tracer_comes_in_beside_readers_and_turns_away_from_a_writer() {
        let lock = RawLock::new();
        assert!(lock.try_take(Shared));
        let mut inside = false;
        assert!(lock.trace(|| inside = lock.is_traced()));
        assert!(inside && !lock.is_traced() && !lock.leave(Shared));
        assert!(
            lock.trace(|| assert!(lock.try_take(Exclusive), "tracers do not keep writers out"))
        );
        assert!(!lock.trace(|| unreachable!("somebody is exclusive")));
    }
}
