//! The crew: grey cells that workers share, and how they know that none is left.
//!
//! # Problem
//!
//! Several workers mark at once. Each has a stack of its own, which only it touches; one that has run
//! dry needs work from the others, and *all are dry* must be told from *all are dry but one, who is
//! just about to find a thousand children*.
//!
//! # Algorithm
//!
//! ```text
//!   open      the driver is busy: busy = 1
//!   share     a busy worker puts a batch of its stack here when there are too few
//!   refill    its stack is dry: takes a batch and stays busy, or, if there is none, rests: busy − 1
//!   wait      it rests: takes a batch and is busy again: busy + 1
//!   done      no batch here, and busy = 0
//!
//!   lend      a mutator that assists takes a batch: busy + 1
//!   return    it has marked for as long as it should: puts back what is left, in halves: busy − 1
//! ```
//!
//! Whatever is grey is in a batch here or on the stack of a worker who counts as busy. All four act
//! under one lock, and *no batch and nobody busy* is looked at under it: so when it is seen, nothing is
//! grey, and as only the busy make batches, it stays so until the driver opens again.
//!
//! Who rests leaves what it counted behind in the same section, and set `dirty` before: the driver
//! that sees `done` sees both.
//!
//! # The lock
//!
//! It is held for a push or a pop of a box. Workers take it inside
//! [`World::with`](crate::world::World::with), where nobody is descheduled by his own runtime; so who
//! waits for it waits for a running thread. Nothing is allocated or freed there: a batch is made
//! before, and poured onto a stack after.
//!
//! Buffers of cells are used again. Else a mutator that assists every few microseconds would have the
//! allocator give and take blocks of a dozen sizes, on another thread each time.
//!
//! # Rejected
//!
//! A deque per worker with thieves: a batch of 256 cells is some 10 µs of work, and a lock per 10 µs
//! and worker is not what marking waits for. Termination over deques needs a second protocol.
//!
//! Model: `loom-tests/tests/gc_cycle.rs`, `marking_together`.

use super::{Counts, Marker};
use crate::{
    space::Exhausted,
    sync::{AtomicUsize, GREY_BATCH, Mutex, Ordering},
    trace::Piece,
};
use core::{ptr::NonNull, time::Duration};
use std::sync::atomic::AtomicU64;

/// Batches that workers put here at most.
const READY: usize = 8;

/// Room for batches: those of workers, and what is left of those that mutators and idle processors took, two of
/// each: for some hundred loans at once, more than a lock that each takes twice in 5 µs can serve.
const ROOM: usize = 256;

/// Workers that may unwind in one round before a place for what they leave is made under the lock.
const LEFT: usize = 64;

/// Empty buffers that are kept, and cells that each may have room for.
const BUFFERS: usize = 16;
const ROOMY: usize = 1 << 10;

/// Room for cells.
pub(super) type Buffer = Vec<NonNull<u8>>;

/// Grey cells on their way from one worker to another.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Batch {
    pub(super) cells: Buffer,
    /// Ends of arrays.
    pub(super) pieces: Vec<Piece>,
}

// SAFETY: a batch holds addresses. Pieces are of objects, which any thread may read.
unsafe impl Send for Batch {}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.pieces.is_empty()
    }
}

#[derive(Debug, Default)]
struct Ready {
    batches: Vec<Batch>,
    /// Workers who may have something grey on their stacks.
    busy: usize,
    /// Those of the busy who put back what they do not use up.
    lent: usize,
    counts: Counts,
    buffers: Buffers,
}

impl Ready {
    /// A busy worker goes, and leaves the rest of what it had, or an empty buffer.
    fn put_down(&mut self, counts: Counts, rest: Result<Batch, Buffer>) -> Option<Buffer> {
        self.counts += counts;
        self.busy -= 1;
        match rest {
            Ok(rest) => {
                self.batches.push(rest);
                None
            }
            Err(buffer) => self.buffers.keep(buffer),
        }
    }
}

/// Empty buffers.
#[derive(Debug, Default)]
struct Buffers(Vec<Buffer>);

// SAFETY: they are empty.
unsafe impl Send for Buffers {}

impl Buffers {
    /// Keeps a buffer, or gives it back, to be freed outside the lock.
    fn keep(&mut self, mut buffer: Buffer) -> Option<Buffer> {
        buffer.clear();
        if !(1..=ROOMY).contains(&buffer.capacity()) || self.0.len() == BUFFERS {
            return Some(buffer);
        }
        self.0.push(buffer);
        None
    }
}

/// What a worker does next.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "who does not know whether it is busy cannot go on"]
pub(super) enum Next {
    /// It is busy, with this.
    Work(Batch),
    /// It rests; others may yet share.
    Wait,
    /// Nothing is grey anywhere.
    Done,
}

/// What the workers of one heap share. See the [module](self).
#[derive(Debug)]
pub struct Crew {
    ready: Mutex<Ready>,
    /// How many batches lie ready; written under the lock.
    count: AtomicUsize,
    /// Bytes marked since the last [`take_counts`](Self::take_counts), slice by slice. For pacing; not
    /// of `sync`, for it is no part of the protocol.
    marked: AtomicU64,
    /// Nanoseconds that this took, but for what those did who had nothing else to do. Likewise.
    spent: AtomicU64,
}

impl Crew {
    /// A crew at rest.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] if there is no memory for its lists.
    pub fn new() -> Result<Self, Exhausted> {
        let mut ready = Ready::default();
        ready.buffers.0.try_reserve_exact(BUFFERS).map_err(|_| Exhausted)?;
        ready.batches.try_reserve_exact(ROOM + LEFT).map_err(|_| Exhausted)?;
        let (marked, spent) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { ready: Mutex::new(ready), count: AtomicUsize::new(0), marked, spent })
    }

    fn ready<R>(&self, f: impl FnOnce(&mut Ready) -> R) -> R {
        // Nothing under this lock panics, so poison carries no news.
        let mut ready = self.ready.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let result = f(&mut ready);
        // Relaxed: a hint for `is_short`.
        self.count.store(ready.batches.len(), Ordering::Relaxed);
        result
    }

    /// The caller, who drives the cycle, is busy, and nobody else.
    pub(super) fn open(&self) {
        self.ready(|ready| {
            debug_assert!(ready.busy == 0 && ready.batches.is_empty(), "a crew opens at rest");
            ready.busy = 1;
        });
    }

    /// An empty buffer, one that was used before if there is one.
    pub(super) fn buffer(&self) -> Buffer {
        self.ready(|ready| ready.buffers.0.pop()).unwrap_or_default()
    }

    /// An empty buffer is left over. Gives it back if there are enough.
    pub(super) fn keep(&self, buffer: Buffer) -> Option<Buffer> {
        self.ready(|ready| ready.buffers.keep(buffer))
    }

    /// Whether a batch more would be welcome.
    pub(super) fn is_short(&self) -> bool {
        // Relaxed: a hint; one batch more or less makes no difference.
        self.count.load(Ordering::Relaxed) < READY / 2
    }

    /// Whether a batch lies ready.
    pub(crate) fn is_ready(&self) -> bool {
        // Relaxed: a hint; who misses a batch asks again.
        self.count.load(Ordering::Relaxed) != 0
    }

    /// A busy worker puts a batch here. Gives it back if there are enough.
    pub(super) fn share(&self, batch: Batch) -> Option<Batch> {
        self.ready(|ready| {
            if ready.batches.len() < READY {
                ready.batches.push(batch);
                return None;
            }
            Some(batch)
        })
    }

    /// A busy worker's stack is dry.
    pub(super) fn refill(&self, marker: &mut Marker) -> Next {
        debug_assert!(marker.is_empty(), "a worker asks for more before its stack is dry");
        self.ready(|ready| {
            if let Some(batch) = ready.batches.pop() {
                return Next::Work(batch);
            }
            ready.counts += marker.take_counts();
            ready.busy -= 1;
            if ready.busy == 0 { Next::Done } else { Next::Wait }
        })
    }

    /// A worker rests, or has just come.
    pub(super) fn wait(&self) -> Next {
        self.ready(|ready| {
            if let Some(batch) = ready.batches.pop() {
                ready.busy += 1;
                return Next::Work(batch);
            }
            if ready.busy == 0 { Next::Done } else { Next::Wait }
        })
    }

    /// A mutator, or one who has nothing else to do, takes a batch, if there is one, to be [returned](Self::put_back).
    pub(super) fn lend(&self) -> Option<Batch> {
        self.ready(|ready| {
            // Each of these may come back as two, and workers add up to READY more.
            if ready.batches.len() + 2 * (ready.lent + 1) > ROOM - READY {
                return None;
            }
            let batch = ready.batches.pop()?;
            ready.busy += 1;
            ready.lent += 1;
            Some(batch)
        })
    }

    /// A mutator puts back what it has not marked; `half` is what it has split off. There is room, for
    /// that was seen to in `lend`. Gives a buffer back if there are enough.
    pub(super) fn put_back(&self, marker: &mut Marker, half: Option<Batch>) -> Option<Buffer> {
        let counts = marker.take_counts();
        let rest = marker.take_all();
        self.ready(|ready| {
            ready.lent -= 1;
            let unneeded = ready.put_down(counts, rest);
            // On top: it leads to more.
            ready.batches.extend(half);
            unneeded
        })
    }

    /// A busy worker goes in the middle of its work, and leaves what it has not marked. Gives a buffer back if
    /// there are enough. There is room for as many batches as are ever ready and [`LEFT`] more, beyond
    /// which this allocates.
    pub(super) fn leave(&self, marker: &mut Marker) -> Option<Buffer> {
        let counts = marker.take_counts();
        let rest = marker.take_all();
        self.ready(|ready| ready.put_down(counts, rest))
    }

    /// A slice was marked.
    pub(super) fn note(&self, bytes: u64, time: Duration) {
        // Relaxed: numbers for pacing. A slice is far shorter than what a `u64` holds.
        self.marked.fetch_add(bytes, Ordering::Relaxed);
        self.spent.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Bytes marked since the last call of [`take_counts`](Self::take_counts); who is in the middle of a
    /// slice has not said.
    pub(crate) fn marked(&self) -> u64 {
        // Relaxed: as in `note`.
        self.marked.load(Ordering::Relaxed)
    }

    /// The time of those who marked since the last call of [`take_counts`](Self::take_counts); as
    /// [`marked`](Self::marked).
    pub(crate) fn spent(&self) -> Duration {
        // Relaxed: as in `note`.
        Duration::from_nanos(self.spent.load(Ordering::Relaxed))
    }

    /// What the crew marked since the last call. The driver asks when all rest.
    pub(crate) fn take_counts(&self) -> Counts {
        // Relaxed: as in `note`.
        self.marked.store(0, Ordering::Relaxed);
        self.spent.store(0, Ordering::Relaxed);
        self.ready(|ready| core::mem::take(&mut ready.counts))
    }
}

/// Cells that a worker gives away at once, at most.
pub(super) const BATCH: usize = GREY_BATCH;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn crew() -> Crew {
        Crew::new().expect("there is memory")
    }

    fn batch(cells: impl IntoIterator<Item = usize>) -> Batch {
        Batch { cells: cells.into_iter().map(cell).collect(), pieces: Vec::new() }
    }

    fn cell(n: usize) -> NonNull<u8> {
        NonNull::new(core::ptr::without_provenance_mut(n)).unwrap()
    }

    #[test]
    fn a_crew_is_done_when_nothing_is_ready_and_nobody_is_busy() {
        let (crew, mut driver, mut helper) = (crew(), Marker::default(), Marker::default());
        assert_eq!(crew.wait(), Next::Done, "nobody has opened");
        crew.open();
        assert_eq!(crew.wait(), Next::Wait, "the driver may find something");
        assert!(crew.share(batch([8])).is_none());
        assert_eq!(crew.refill(&mut driver), Next::Work(batch([8])));
        assert!(crew.share(batch([16])).is_none());
        assert_eq!(crew.wait(), Next::Work(batch([16])));
        assert_eq!(crew.refill(&mut driver), Next::Wait, "the helper is busy");
        assert_eq!(crew.refill(&mut helper), Next::Done);
        assert_eq!(crew.wait(), Next::Done);
    }

    #[test]
    fn what_was_lent_comes_back_and_is_waited_for() {
        let (crew, mut driver, mut mutator) = (crew(), Marker::default(), Marker::default());
        assert!(crew.lend().is_none(), "nothing is ready");
        crew.open();
        assert!(crew.share(batch([8, 16])).is_none());
        drop(mutator.take(crew.lend().expect("a batch is ready")));
        assert_eq!(crew.refill(&mut driver), Next::Wait, "the mutator has it");
        let half = mutator.split(usize::MAX, crew.buffer()).ok();
        assert!(crew.put_back(&mut mutator, half).is_none());
        assert!(mutator.is_empty());
        assert_eq!(crew.wait(), Next::Work(batch([8])), "it came back as two");
        assert_eq!(crew.refill(&mut driver), Next::Work(batch([16])));
        assert_eq!(crew.refill(&mut driver), Next::Done);
    }

    #[test]
    fn more_batches_than_needed_come_back() {
        let crew = crew();
        crew.open();
        let returned = (0..2 * READY).filter_map(|n| crew.share(batch([n + 1]))).count();
        assert_eq!(returned, READY);
        assert!(!crew.is_short());
    }
}
