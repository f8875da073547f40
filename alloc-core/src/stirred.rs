//! Whether something came to a central since the scavenger looked: a hint when to look again.
//!
//! # Problem
//!
//! A scavenger sleeps once there is nothing to give back, and is called again when somebody says that there may be.
//! Free pages say so themselves, by a number under the page heap's lock. Spans that no cache has are found only by a
//! walk over the centrals' lists; so who brings one, or frees a cell of one, sets this word, and whoever goes over
//! the lists clears it. A span that came and was neither met nor told of would keep its memory until the next free,
//! which in an idle process never comes.
//!
//! # Algorithm
//!
//! ```text
//!   who brings or frees                     who looks
//!     N1  the span is listed, the cell        L1  word = 0
//!         counted, the cache in the pool      L2  heavy fence
//!     N2  light fence                         L3  goes over the lists, words of spans, pool
//!     N3  word is 0?  word = 1
//! ```
//!
//! Either N2 comes before L2, and then L3 meets what N1 did; or L2 does, and then N3 reads the 0 of L1, or a 1 that was
//! stored later, and the word is 1 in the end. So N1 comes first on the one side, L1 on the other.
//!
//! *Cost*: for who frees a load, on a line that nearly nobody writes to. Its fence is the compiler's, the other side's a
//! system call, as where a cache is lent ([`lend`](crate::lend)); and that is made only where the word was set. Where the
//! kernel has no such call, the word stays set: a scavenger is called for nothing then, and misses nothing.
//!
//! Model: `loom-tests/tests/alloc_stirred.rs`.
//!
//! Rejected: *a read-modify-write to set the word*, which needs no fence: all threads that free would fight for the
//! line. *A full fence on both sides*: who frees would pay it for each span, for a look that comes five times a
//! second at most.

use crate::{
    lend::{heavy_fence, light_fence},
    sync::{AtomicUsize, Ordering, const_fn},
};

/// The word. On a line of its own: nearly always read only.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Stirred(AtomicUsize);

impl Stirred {
    const_fn! {
        pub(crate) fn new() -> Self {
            Stirred(AtomicUsize::new(0))
        }
    }

    /// Somebody should look: after what there is to be met.
    #[inline]
    pub(crate) fn note(&self) {
        light_fence();
        // Relaxed: ordered by the fence, which pairs with the heavy one in `look`.
        if self.0.load(Ordering::Relaxed) == 0 {
            self.0.store(1, Ordering::Relaxed);
        }
    }

    /// Runs `walk`, which meets all that was there before, and of which nobody needs to be told any more. It is told
    /// whether something came since the last time.
    pub(crate) fn look<R>(&self, walk: impl FnOnce(bool) -> R) -> R {
        let stirred = self.clear();
        walk(stirred)
    }

    /// Returns whether it was set.
    fn clear(&self) -> bool {
        let stirred = self.get();
        if stirred {
            // Relaxed: ordered by the fence, which pairs with the light one in `note`.
            self.0.store(0, Ordering::Relaxed);
            if !heavy_fence() {
                self.0.store(1, Ordering::Relaxed);
            }
        }
        stirred
    }

    /// Whether somebody should look.
    pub(crate) fn get(&self) -> bool {
        // Relaxed: a hint, for who asks again.
        self.0.load(Ordering::Relaxed) != 0
    }
}
