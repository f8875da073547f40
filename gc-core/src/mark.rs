//! The marker: follows edges from what is grey until nothing is.
//!
//! The mark stack holds addresses that *may* be white. Taking one, the marker tries to mark it;
//! whoever turns it from white to marked looks into it, and everybody else leaves it. So an
//! address may be on the stack, in a log and under another worker's hand at once, and is looked
//! into exactly once.
//!
//! A large heap is not in the processor's caches, and a cell's span, its mark and the object are three
//! misses, one after the other. So cells pass from the stack through a short line, in which the three
//! are asked of memory at once, for many cells ahead of their turn.
//!
//! Marking is cut into slices by a budget of objects, so that the driver can let others run in
//! between. A long array counts as many: it is looked into piece by piece, when nothing else is left to do.
//! Whoever may mark only for so long looks at the time as well, after each few objects.
//! Several workers may mark at once ([`crew`]): each has a stack of its own, marking is a
//! read-modify-write in the space, and `dirty` is set by whoever marked.
//!
//! A stack may find no memory to grow: see `mark::overflow`.

pub mod crew;
mod helpers;
mod overflow;
mod worker;

pub(crate) use self::overflow::Overflow;
pub use self::{helpers::Helpers, worker::Worker};

use self::crew::{Batch, Buffer};
use crate::{
    engine::Engine,
    space::{Exhausted, Kind, Space},
    trace::Tracer,
};
use core::{ops::AddAssign, ptr::NonNull, time::Duration};
use std::time::Instant;

/// Objects between two looks at the time, which costs as much as marking one.
const LOOK: usize = 32;

/// One worker's stack and counts.
#[derive(Debug)]
pub struct Marker {
    stack: Tracer,
    counts: Counts,
    /// Of one who has nothing else to do.
    idle: bool,
}

/// What was marked, and how long it took.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Objects.
    pub objects: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The time of whoever marked, the kernel's interruptions included.
    pub time: Duration,
    /// The same of those who had nothing else to do; not in `time`.
    pub idle: Duration,
    /// How many slices they marked.
    pub idle_slices: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.time += other.time;
        self.idle += other.idle;
        self.idle_slices += other.idle_slices;
    }
}

impl Default for Marker {
    fn default() -> Self {
        Self { stack: Tracer::cutting(), counts: Counts::default(), idle: false }
    }
}

impl Marker {
    /// The marker of one who has nothing else to do: its time is counted as such.
    fn idle() -> Self {
        Self { idle: true, ..Self::default() }
    }

    /// The marker of a driver.
    pub(crate) fn roomy() -> Result<Self, Exhausted> {
        let mut marker = Self::default();
        marker.stack.make_room(overflow::ROOM)?;
        Ok(marker)
    }

    /// Runs `f`, in which cells of the engine's space may become grey: those that find no room are marked at
    /// once.
    ///
    /// # Safety
    ///
    /// As [`drain`](Self::drain), of what is shaded in `f`.
    pub(crate) unsafe fn within<S: Space, R>(
        &mut self,
        engine: &Engine<S>,
        f: impl FnOnce(&mut Self) -> R,
    ) -> R {
        // SAFETY: it is taken away below, or with an unwinding driver never used again; the rest is the caller's.
        self.stack.attach(unsafe { Overflow::into(&engine.space) });
        let result = f(self);
        if let Some(counts) = self.stack.detach().and_then(Overflow::counts) {
            self.counts += counts;
            engine.phase.set_overflowed();
        }
        result
    }

    /// Makes a cell grey. It is marked when the marker gets to it.
    #[inline]
    pub(crate) fn shade(&mut self, cell: NonNull<u8>) {
        self.stack.edge(cell);
    }

    /// Whether nothing is grey here.
    pub fn is_empty(&self) -> bool {
        self.stack.is_empty()
    }

    /// Marks until nothing is grey here or `budget` objects were looked at. True if nothing is
    /// left.
    ///
    /// # Safety
    ///
    /// A cycle of this engine is between steps 4 and 7, and what was shaded was alive at its
    /// step 1 or is newer.
    pub unsafe fn drain<S: Space>(&mut self, engine: &Engine<S>, budget: usize) -> bool {
        // SAFETY: the caller's.
        unsafe { self.drain_until(engine, budget, || false) }
    }

    /// The same, or until `is_over`, which is asked after each [`LOOK`] objects.
    ///
    /// # Safety
    ///
    /// As [`drain`](Self::drain).
    unsafe fn drain_until<S: Space>(
        &mut self,
        engine: &Engine<S>,
        budget: usize,
        is_over: impl Fn() -> bool,
    ) -> bool {
        // SAFETY: the caller's.
        unsafe { self.within(engine, |marker| marker.drain_within(engine, budget, is_over)) };
        self.stack.is_empty()
    }

    /// # Safety
    ///
    /// As [`drain`](Self::drain); `within`.
    unsafe fn drain_within<S: Space>(
        &mut self,
        engine: &Engine<S>,
        budget: usize,
        is_over: impl Fn() -> bool,
    ) {
        let (before, begun) = (self.counts.objects, Instant::now());
        let mut line = Line::default();
        for looked_at in 1..=budget {
            // SAFETY: the caller's: cells are not swept before step 8.
            match unsafe { line.next(&engine.space, &mut self.stack) } {
                // SAFETY: the caller's: the cell is not swept before step 8, and it is an object's,
                // whole by the time its address could be found.
                Some(cell) => unsafe { self.look_into(engine, cell) },
                // SAFETY: pieces are of objects that were marked in this cycle.
                None if unsafe { self.stack.piece() } => {}
                None => break,
            }
            if looked_at.is_multiple_of(LOOK) && is_over() {
                break;
            }
        }
        line.back(&mut self.stack);
        self.meet(engine);
        self.note(begun.elapsed());
        if self.counts.objects != before {
            engine.phase.set_dirty();
        }
    }

    /// Tells of the weak objects that were met.
    fn meet<S: Space>(&mut self, engine: &Engine<S>) {
        if let Some(weaks) = self.stack.take_weaks()
            && let Err(weaks) = engine.weaks.meet(weaks)
        {
            self.stack.keep_all(weaks);
        }
    }

    /// Looks again into what is marked in the span at `place`, and puts what is white behind it on the stack.
    /// Returns the place of the next span: see [`overflow`].
    ///
    /// # Safety
    ///
    /// As [`drain`](Self::drain), and nothing is swept meanwhile.
    pub(crate) unsafe fn look_again<S: Space>(
        &mut self,
        engine: &Engine<S>,
        place: usize,
    ) -> Option<usize> {
        let begun = Instant::now();
        let look = |stack: &mut Tracer, cell, kind: &Kind| {
            let Some(trace) = kind.trace else { return };
            let before = stack.len();
            // SAFETY: the object is of the cell's kind, and whole: it is marked.
            unsafe { trace(cell, stack) };
            // SAFETY: edges lead to allocated cells.
            stack.retain(before, |edge| !unsafe { engine.space.is_marked(edge) });
        };
        // SAFETY: the caller's.
        let next = unsafe {
            self.within(engine, |marker| {
                let each = &mut |cell, kind: &'static Kind| look(&mut marker.stack, cell, kind);
                let next = engine.space.marked(place, each);
                marker.meet(engine);
                next
            })
        };
        self.note(begun.elapsed());
        next
    }

    /// # Safety
    ///
    /// The cell is allocated and holds an object.
    #[inline]
    unsafe fn look_into<S: Space>(&mut self, engine: &Engine<S>, cell: NonNull<u8>) {
        // SAFETY: the caller's.
        let Some(marked) = (unsafe { engine.space.mark(cell) }) else { return };
        self.counts.objects += 1;
        self.counts.bytes += marked.bytes as u64;
        if let Some(trace) = marked.kind.trace {
            // SAFETY: the object is of the cell's kind.
            unsafe { trace(cell, &mut self.stack) };
        }
    }

    /// Takes half of the grey cells off the stack, at most so many: the oldest, which lead to more
    /// than the newest do. In a tree, where a stack is no deeper than the tree, a few are half the work.
    /// They come in `buffer`, which is empty, or it comes back.
    fn split(&mut self, most: usize, mut buffer: Buffer) -> Result<Batch, Buffer> {
        if self.stack.take_oldest(most, &mut buffer) {
            return Ok(Batch { cells: buffer, pieces: Vec::new() });
        }
        let mut pieces = Vec::new();
        if self.stack.take_piece(&mut pieces) {
            return Ok(Batch { cells: buffer, pieces });
        }
        Err(buffer)
    }

    /// Takes all grey cells off the stack: a batch, or the buffer of none.
    fn take_all(&mut self) -> Result<Batch, Buffer> {
        let (cells, pieces) = self.stack.take_all();
        let batch = Batch { cells, pieces };
        if batch.is_empty() { Err(batch.cells) } else { Ok(batch) }
    }

    /// Puts a batch on the stack. A buffer is left over.
    fn take(&mut self, batch: Batch) -> Buffer {
        self.stack.put(batch.cells, batch.pieces)
    }

    /// A slice took so long.
    fn note(&mut self, time: Duration) {
        if self.idle {
            self.counts.idle += time;
            self.counts.idle_slices += 1;
        } else {
            self.counts.time += time;
        }
    }

    /// What was marked since the last call.
    pub fn take_counts(&mut self) -> Counts {
        core::mem::take(&mut self.counts)
    }
}

/// How many cells are asked of memory ahead of their turn. Twelve and twenty are no better.
const AHEAD: usize = 16;

/// Cells on their way from the stack to the marker.
#[derive(Default)]
struct Line {
    cells: [Option<NonNull<u8>>; AHEAD],
    /// The place of the one whose turn is next.
    front: usize,
    /// How many there are.
    count: usize,
}

impl Line {
    /// Lets one more in, if there is one, and the first one out, once the line is full or the stack empty.
    ///
    /// # Safety
    ///
    /// What is on the stack are allocated cells of the space.
    #[inline(always)]
    unsafe fn next<S: Space>(&mut self, space: &S, stack: &mut Tracer) -> Option<NonNull<u8>> {
        while self.count < AHEAD
            && let Some(cell) = stack.pop()
        {
            // SAFETY: the caller's.
            unsafe { space.foresee(cell) };
            self.cells[(self.front + self.count) % AHEAD] = Some(cell);
            self.count += 1;
        }
        if let Some(near) = self.cells[(self.front + AHEAD / 2) % AHEAD] {
            // SAFETY: the caller's.
            unsafe { space.approach(near) };
        }
        let first = self.cells[self.front].take()?;
        self.front = (self.front + 1) % AHEAD;
        self.count -= 1;
        Some(first)
    }

    /// Puts back who is left.
    fn back(self, stack: &mut Tracer) {
        self.cells.into_iter().flatten().for_each(|cell| stack.edge(cell));
    }
}
