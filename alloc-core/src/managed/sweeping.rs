//! How far the sweep of a cycle is: one word each for the cycle, the permission, and what is left.
//!
//! A span that waits for its sweep and one that is being swept are counted together. So *nothing is left*
//! means that no span waits **and** no sweeper is at work, and one look at one word tells it. Go counts
//! sweepers in one word with a bit for *all taken* (`activeSweep`), since its list of spans tells what
//! waits; here each class has a list of its own, and no look sees all of them at once.
//!
//! ```text
//!   driver   begin(c) ─ add(n) for each class ─ handshake ─ permit ─ … ─ is_drained ─ marks
//!   sweeper                                         may_sweep ─ claim ─ bits ─ finish ─ done
//! ```
//!
//! * *Nobody sweeps before the permission*: what the last takers of the old cycle did to their spans is
//!   before [`permit`](Sweeping::permit), by the collector's handshake, and so before each sweep.
//! * *Nobody sweeps after the end*: [`done`](Sweeping::done) comes after the last access of a sweeper to
//!   its span. Whoever sees the count at 0 sees the cleared marks of all spans, and may mark.
//! * *Nobody sweeps across cycles*: a cycle begins only at 0; and who read the old cycle's number finds
//!   the class's number changed under its lock.
//!
//! Model: `loom-tests/tests/alloc_sweep.rs` (A4).

use super::sweepgen::Generation;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, const_fn};

/// The words. The collector's driver writes the first two, anyone counts.
#[derive(Debug)]
pub struct Sweeping {
    /// Number of the current cycle, and of the one whose spans may be swept.
    cycle: AtomicU64,
    permitted: AtomicU64,
    /// Spans that wait for this cycle's sweep or are being swept.
    left: AtomicUsize,
}

impl Sweeping {
    const_fn! {
        /// Cycle 0, in which nothing is to be swept.
        #[allow(clippy::new_without_default, reason = "a default cannot be made in a constant")]
        pub fn new() -> Self {
            Sweeping {
                cycle: AtomicU64::new(0),
                permitted: AtomicU64::new(0),
                left: AtomicUsize::new(0),
            }
        }
    }

    /// The generation of the current cycle.
    pub fn now(&self) -> Generation {
        // Acquire: pairs with the Release in `begin`.
        Generation::of(self.cycle.load(Ordering::Acquire))
    }

    /// The driver begins a cycle, when nothing of the last one is left.
    pub fn begin(&self, cycle: u64) {
        debug_assert!(self.is_drained(), "spans of the last cycle are not swept");
        // Release: pairs with the Acquire in `now`.
        self.cycle.store(cycle, Ordering::Release);
    }

    /// The driver allows sweeping, after a handshake with all who took cells for the cycle before.
    pub fn permit(&self) {
        // Relaxed: only the driver writes it, and that is the caller.
        let cycle = self.cycle.load(Ordering::Relaxed);
        // Release: hands the handshake on to sweepers; pairs with the Acquire in `may_sweep`.
        self.permitted.store(cycle, Ordering::Release);
    }

    /// True if spans may be swept for `now`.
    pub fn may_sweep(&self, now: Generation) -> bool {
        // Acquire: pairs with the Release in `permit`.
        self.now() == now && Generation::of(self.permitted.load(Ordering::Acquire)) == now
    }

    /// So many more spans wait. Before any of them can be claimed: under the lock of their list.
    pub fn add(&self, spans: usize) {
        // Relaxed: the lock orders it before the claims, and `done` comes after those.
        self.left.fetch_add(spans, Ordering::Relaxed);
    }

    /// A span needs no sweep any more; the caller touches it no more as its sweeper.
    pub fn done(&self) {
        // Release: what the sweeper did to the span is before the end; pairs with `is_drained`.
        let before = self.left.fetch_sub(1, Ordering::Release);
        debug_assert_ne!(before, 0, "more spans were swept than waited");
    }

    /// True if no span waits or is being swept.
    pub fn is_drained(&self) -> bool {
        // Acquire: pairs with the Release of every `done`, all of which are read-modify-writes.
        self.left.load(Ordering::Acquire) == 0
    }

    /// Spans that wait or are being swept, for statistics.
    pub fn left(&self) -> usize {
        // Relaxed: a number.
        self.left.load(Ordering::Relaxed)
    }
}
