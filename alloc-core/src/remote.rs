//! Frees by threads that do not own the span, and the hand-over of spans that nobody owns.
//!
//! A span of small cells is *owned* by one cache, which allocates from it and frees into it with
//! plain loads and stores. Everybody else frees through a [`Remote`]: a bit per cell says *which* cells
//! were freed, and one word *how many*, and who has the span.
//!
//! ```text
//!   63          34 33  32 31        16 15         0
//!   ┌─────────────┬──────┬────────────┬────────────┐     ┌────────┬────────┬─ ─ ─
//!   │      0      │state │    used    │   count    │     │ marked: a bit per cell
//!   └─────────────┴──────┴────────────┴────────────┘     └────────┴────────┴─ ─ ─
//!   count  cells that were freed
//!   used   cells that were not free when the owner let go; 0 while owned
//! ```
//!
//! # A free, and a take
//!
//! ```text
//!   free   F1  marked |= cells           take   T1  n = count, count = 0
//!          F2  count += their number            T2  n of the marked cells are the owner's: their bits are cleared
//! ```
//!
//! Cells that are freed together are marked by a read-modify-write for 64 neighbours, and counted by one
//! (`batch`). The cells themselves are not touched: whoever frees a block that another thread has written to does not
//! wait for its cache line, nor does the owner when it gets the cell back.
//!
//! *T2 takes any n of the marked cells.* At any time as many are marked as are counted, or more: a free marks first.
//! One that is between F1 and F2 may lose its bit to a T2 that was owed another cell. That cell is as free
//! as the one whose bit stays in its place, and F2 will count it.
//!
//! # States
//!
//! ```text
//!            disown_full                    count (the first)
//!   ┌──────────────────────────▶ FULL ───────────────────────▶ INCOMING
//!   │  ◀──────────────────────────┘                               │ arrive
//! OWNED          adopt                                            ▼
//!   │  ◀───────────────────────── claim ────────────────────── LISTED
//!   └───────────────────────────▶ list ─────────────────────────▶ ┘
//! ```
//!
//! * **owned**: the owner finds what was freed when its own free cells run out ([`Remote::take`]).
//! * **full**: nobody owns the span and it is on no list. The first free puts it back: whoever
//!   counts from zero must hand the span to its central. A thread with a cache
//!   may instead [`adopt`](Remote::adopt) it.
//! * **incoming**: full, and counted into: on its way to the central, or in the central's set.
//! * **listed**: on the central's list; the states *incoming* → *listed* → *owned* change under
//!   the central's lock, while frees go on beside.
//!
//! # Why nothing is lost and nothing used twice
//!
//! One word holds count and state, so a free is counted in the state that it joins: one
//! that comes before `disown_full` makes that fail (the count is not zero), one after it finds
//! *full* and puts the span back. Two cannot both count from zero. A span is empty when all cells that were in
//! use are counted: then no free is between F1 and F2, and nobody touches the bits any more.
//!
//! # Orderings
//!
//! F1 releases what the freeing thread did to the cells, T2 acquires it. F2 releases the marks, T1 acquires
//! them: so T2 finds as many as it is owed. Letting go (`disown_full`, `list`) releases the owner's part of the
//! record; taking hold (`adopt`, `claim`, and a free that puts back) acquires it. Every change is a
//! read-modify-write, so each release heads a sequence that reaches all later acquires.
//!
//! Model: `loom-tests/tests/alloc_remote.rs`. Sources: the bits of jemalloc's slabs, which a lock guards, for
//! frees that leave the cell alone; mimalloc's `xthread_free` (Leijen et al. 2019) for the word. Go frees by
//! sweeping only and has no such thing.
//!
//! Rejected: *a list through the freed cells* with its head in the word, as mimalloc's, which was here before. A
//! free writes to a cell that lies in another thread's cache or in none, and a take follows links through
//! such cells (docs/decisions/0026).

mod batch;

use core::fmt;

pub use batch::Batch;
pub(crate) use batch::Neighbours;

use crate::{
    size_class::MOST_CELLS,
    sync::{AtomicU64, Ordering, array_of, const_fn},
};

const USED: u32 = 16;
const STATE: u32 = 32;
const FIELD: u64 = 0xffff;

/// Words of marks. In a model two do, and each is a place where threads may be interleaved.
const WORDS: usize = if cfg!(loom) { 2 } else { MOST_CELLS / 64 };

/// Whether anyone owns a span, and if not, where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A cache owns it.
    Owned = 0,
    /// Nobody owns it, no cell is free, and it is on no list.
    Full = 1,
    /// It is on the central's list.
    Listed = 2,
    /// It was full, and a cell was freed; it is on its way to the central.
    Incoming = 3,
}

/// What a remote free found, and what the caller must do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Freed {
    /// The cells are counted; somebody will find them.
    Queued,
    /// The span was full and unowned. The caller alone must put it into the central's set.
    PutBack,
    /// All cells of a span that nobody owns are free now. The caller may tell the central.
    Emptied,
}

/// A copy of the word at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Snapshot(u64);

impl Snapshot {
    /// *Incoming* is *full* with a count.
    fn new(state: State, used: u32, count: u32) -> Self {
        let state = if state == State::Incoming { State::Full } else { state };
        Snapshot((state as u64) << STATE | u64::from(used) << USED | u64::from(count))
    }

    /// Who has the span.
    pub fn state(self) -> State {
        match self.0 >> STATE {
            0 => State::Owned,
            1 if self.count() == 0 => State::Full,
            1 => State::Incoming,
            _ => State::Listed,
        }
    }

    /// Cells that were in use when the owner let go.
    pub fn used(self) -> u32 {
        ((self.0 >> USED) & FIELD) as u32
    }

    /// Cells that were freed and not taken.
    pub fn count(self) -> u32 {
        (self.0 & FIELD) as u32
    }

    /// True if the span has no owner and no live cell.
    pub fn is_empty(self) -> bool {
        self.state() != State::Owned && self.count() == self.used()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("state", &self.state())
            .field("used", &self.used())
            .field("count", &self.count())
            .finish()
    }
}

/// Word and marks. A new one is owned, with nothing freed.
///
/// ```
/// use alloc_core::remote::{Freed, Remote};
/// let remote = Remote::new();
/// assert_eq!(remote.free(3), Freed::Queued);
/// let mut cells = 0;
/// assert_eq!(remote.take(|word, bits| cells |= bits << (64 * word)), 1);
/// assert_eq!(cells, 1 << 3);
/// remote.disown_full(8).unwrap();
/// assert_eq!(remote.free(5), Freed::PutBack);
/// ```
#[derive(Debug)]
pub struct Remote {
    word: AtomicU64,
    marked: [AtomicU64; WORDS],
}

impl Remote {
    const_fn! {
        /// Owned, nothing freed.
        #[allow(clippy::new_without_default, reason = "a default would hide that it starts as owned")]
        pub fn new() -> Self {
            Remote { word: AtomicU64::new(0), marked: array_of!(AtomicU64::new(0); WORDS) }
        }
    }

    /// Makes the span owned again, whatever it was: its pages begin a new life.
    ///
    /// The caller holds the pages alone.
    pub(crate) fn reset(&self) {
        // Relaxed: nobody else knows the span; it is handed on with the first cell.
        self.word.store(0, Ordering::Relaxed);
        self.marked.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// The word now; other threads may change it at once.
    pub fn snapshot(&self) -> Snapshot {
        // Acquire: who sees a state sees what the thread that made it wrote before.
        Snapshot(self.word.load(Ordering::Acquire))
    }

    /// Frees a cell of a span that the caller does not own. A [`Batch`] frees many.
    pub fn free(&self, cell: usize) -> Freed {
        self.mark(cell / 64, 1 << (cell % 64));
        self.count(1)
    }

    /// Says which cells are free, 64 neighbours at a time; [`Remote::count`] must follow.
    fn mark(&self, word: usize, bits: u64) {
        // Release: what was done to the cells comes first; pairs with the Acquire in `take_marked`.
        let before = self.marked[word].fetch_or(bits, Ordering::Release);
        debug_assert_eq!(before & bits, 0, "a cell was freed twice, among 64 from {}", 64 * word);
    }

    /// Says how many cells were marked, now that they are.
    fn count(&self, count: u32) -> Freed {
        // Release: publishes the marks to `take`. Acquire: if the span was full, the caller goes on to
        // touch its links, after the last owner.
        let before = Snapshot(self.word.fetch_add(u64::from(count), Ordering::AcqRel));
        match before.state() {
            State::Full => Freed::PutBack,
            State::Owned => Freed::Queued,
            _ if before.count() + count == before.used() => Freed::Emptied,
            _ => Freed::Queued,
        }
    }

    /// The owner takes what was freed, and says how many cells that was; `each` gets them as bits of a word of 64.
    pub fn take(&self, each: impl FnMut(usize, u64)) -> u32 {
        // Relaxed: a look that spares the owner the exchange; a free in flight is found next time.
        if Snapshot(self.word.load(Ordering::Relaxed)).count() == 0 {
            return 0;
        }
        // Acquire: pairs with the Release of every `count`.
        let taken = Snapshot(self.word.swap(0, Ordering::Acquire));
        debug_assert_eq!(taken.state(), State::Owned, "only the owner takes");
        self.take_marked(taken.count(), each);
        taken.count()
    }

    /// Takes so many of the marked cells, of which there are as many or more.
    fn take_marked(&self, count: u32, mut each: impl FnMut(usize, u64)) {
        let mut left = count;
        for (number, word) in self.marked.iter().enumerate() {
            if left == 0 {
                return;
            }
            // Relaxed: what is marked stays so until we clear it.
            let bits = lowest(word.load(Ordering::Relaxed), left);
            if bits != 0 {
                // Acquire: what was done to the cells comes first; pairs with the Release in `mark`.
                word.fetch_and(!bits, Ordering::Acquire);
                left -= bits.count_ones();
                each(number, bits);
            }
        }
        debug_assert_eq!(left, 0, "of {count} cells that were counted, so many are not marked");
    }

    /// The owner lets go of a span without a free cell: its next free puts it back.
    ///
    /// # Errors
    ///
    /// If a cell was freed meanwhile: the caller still owns the span and should take it.
    pub fn disown_full(&self, used: u32) -> Result<(), Snapshot> {
        let full = Snapshot::new(State::Full, used, 0);
        // Release: hands the owner's part of the record on; pairs with the Acquire in `adopt` and
        // `count`. Relaxed on failure: the caller looks again with `take`.
        self.word
            .compare_exchange(0, full.0, Ordering::Release, Ordering::Relaxed)
            .map(drop)
            .map_err(Snapshot)
    }

    /// The owner lets go of a span with free cells. Under the central's lock, which also puts it
    /// on its list.
    pub fn list(&self, used: u32) {
        self.change(|now| {
            debug_assert_eq!(now.state(), State::Owned, "only the owner lets go");
            Snapshot::new(State::Listed, used, now.count())
        });
    }

    /// Takes hold of a full span; `false` if somebody else was first.
    ///
    /// The caller has a live cell of it, so the span is still there.
    pub fn adopt(&self) -> bool {
        // Relaxed: only compared.
        let now = Snapshot(self.word.load(Ordering::Relaxed));
        // Acquire: the last owner's part of the record is ours now; pairs with the Release in
        // `disown_full`. Relaxed on failure: nothing is read.
        now.state() == State::Full
            && self.word.compare_exchange(now.0, 0, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// The central has found the span in its set and puts it on its list. Under its lock.
    pub fn arrive(&self) -> Snapshot {
        self.change(|now| {
            debug_assert_eq!(now.state(), State::Incoming, "only what was put back arrives");
            Snapshot::new(State::Listed, now.used(), now.count())
        })
    }

    /// A cache takes a listed span, with the cells that were freed. Under the central's lock.
    pub fn claim(&self) -> Snapshot {
        self.change(|now| {
            debug_assert_eq!(now.state(), State::Listed, "only listed spans are claimed");
            Snapshot::new(State::Owned, 0, now.count())
        })
    }

    /// Changes the word whatever happens beside; returns the new one.
    fn change(&self, to: impl Fn(Snapshot) -> Snapshot) -> Snapshot {
        // Relaxed: only compared.
        let mut now = self.word.load(Ordering::Relaxed);
        loop {
            let next = to(Snapshot(now));
            // AcqRel: a change lets go of the record or takes hold of it; pairs with the others.
            // Relaxed on failure: as the load above.
            match self.word.compare_exchange_weak(now, next.0, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return next,
                Err(found) => now = found,
            }
        }
    }
}

/// The lowest `most` bits of a word, or all that it has.
fn lowest(bits: u64, most: u32) -> u64 {
    let (mut bits, mut over) = (bits, bits.count_ones().saturating_sub(most));
    while over > 0 {
        bits &= !(1 << bits.ilog2());
        over -= 1;
    }
    bits
}

#[cfg(test)]
mod tests;
