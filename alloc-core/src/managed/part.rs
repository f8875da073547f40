//! The record of a collected span beside its span record: bits and state.
//!
//! ```text
//!   alloc    1 = the cell is allocated, or reserved by the cache that holds the span
//!   mark     1 = the marker reached it in this cycle (or it was made marked)
//!   doomed   1 = found dead, destructor not yet run; the cell stays allocated
//! ```
//!
//! *Allocation* reserves up to 64 cells at once: the cache takes all zeroes of one word of `alloc`
//! under the lock, and then hands them out bit by bit from its copy, `reserve`. So the lock is
//! taken once per 64 cells, and a cell freed by its destructor is seen by the next pass.
//!
//! *Sweep*: the marks become the allocation bits, and the old allocation bits, cleared, the marks: a
//! swap. For classes with destructors the white cells are doomed instead and stay allocated.
//!
//! *Poison*, if the span has it ([`poison`](super::poison)): cells are filled as their allocation bits are
//! cleared, and looked at as they are reserved; both under the lock.
//!
//! `alloc` and `doomed` change under `lock`; `mark` is set by anyone while the collector marks,
//! never while it sweeps. `reserve` and `word` belong to the cache that holds the span; a sweeper
//! that claims a stale one reads them after the collector's handshake with that cache.

mod pointer;

use core::{cell::Cell, ptr, ptr::NonNull};

pub(crate) use pointer::{PartList, PartPtr};

use crate::{
    managed::{
        class::Class,
        marks,
        poison::{self, Report, Spoilt},
        sweepgen::{Generation, SweepWord},
    },
    span::SpanPtr,
    sync::{AtomicPtr, AtomicU64, AtomicUsize, Lock, Ordering},
};

/// Words of a bitmap at most.
pub(crate) const WORDS: usize = 64;
/// Cells of a span at most.
pub(crate) const CELLS: usize = WORDS * 64;

/// One bit for each cell of a span.
pub(crate) type Bits = [u64; WORDS];

/// The record. Its bitmaps lie behind it in memory: three times `words` words.
#[repr(C)]
pub(crate) struct Part {
    pub(crate) state: SweepWord,
    /// Written when the span is made, read by whoever holds a cell of it. So is `poison`.
    span: Cell<SpanPtr>,
    class: AtomicPtr<Class>,
    words: usize,
    /// Which of the first two bitmaps holds the marks. Changed by sweep, under `lock`.
    flip: AtomicUsize,
    lock: Lock<()>,
    /// The cache's reserved cells, and the word they come from.
    reserve: AtomicU64,
    word: AtomicUsize,
    /// Links of a list of the class or of a pool, under its lock.
    prev: Cell<Option<PartPtr>>,
    next: Cell<Option<PartPtr>>,
    /// On the class's list of spans with free cells. Under the class's lock.
    pub(crate) in_partial: Cell<bool>,
    /// Link of the list of spans with doomed cells; whether it is on it or its cells are handed out.
    /// Under that list's lock.
    pub(crate) doomed_next: Cell<Option<PartPtr>>,
    pub(crate) in_doomed: Cell<bool>,
    /// Free cells are poisoned, and this is told of those that were written to. Far from what an allocation
    /// touches, which is one line.
    poison: Cell<Option<Report>>,
}

// SAFETY: plain fields are touched under the lock that their comment names, or while the caller
// holds the span alone.
unsafe impl Sync for Part {}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Cells that are free now and were not before.
    pub(crate) freed: u32,
    /// Cells newly doomed.
    pub(crate) doomed: u32,
    /// Cells that stay allocated, doomed ones included.
    pub(crate) live: u32,
}

/// Bytes of a record with bitmaps of `words` words.
pub(crate) const fn bytes(words: usize) -> usize {
    size_of::<Part>() + 3 * words * size_of::<AtomicU64>()
}

impl Part {
    /// Begins a new life as the record of `span`, in the hands of the caller's cache, with clear bitmaps.
    ///
    /// Field by field: who has just freed the last doomed cells of the old span may be asking at this moment whose it
    /// is ([`Spans::offer`](super::spans::Spans::offer)).
    pub(crate) fn begin(
        &self,
        span: SpanPtr,
        class: NonNull<Class>,
        now: Generation,
        poison: Option<Report>,
    ) {
        self.span.set(span);
        self.poison.set(poison);
        self.in_partial.set(false);
        // Relaxed, as all stores here: the lock of the list that the span comes on publishes them, or the store of the
        // span's pointer to this record.
        self.class.store(class.as_ptr(), Ordering::Relaxed);
        self.state.begin(now);
        self.reserve.store(0, Ordering::Relaxed);
        self.word.store(0, Ordering::Relaxed);
        for word in 0..self.words {
            self.mark_word(word).store(0, Ordering::Relaxed);
            self.doomed(word).store(0, Ordering::Relaxed);
            // Cells that do not exist are allocated for ever.
            self.alloc(word).store(!self.real(word), Ordering::Relaxed);
            self.fill(word, self.real(word));
        }
    }

    pub(crate) fn span(&self) -> SpanPtr {
        self.span.get()
    }

    pub(crate) fn words(&self) -> usize {
        self.words
    }

    pub(crate) fn class_ptr(&self) -> *mut Class {
        // Relaxed: written when the span was made. Whoever asks holds a cell of it, or has seen in its word, by an
        // Acquire, what was written after that.
        self.class.load(Ordering::Relaxed)
    }

    fn bit_word(&self, map: usize, word: usize) -> &AtomicU64 {
        debug_assert!(word < self.words && map < 3);
        // SAFETY: three maps of `words` words lie behind the record, written by `create`.
        unsafe { &*ptr::from_ref(self).add(1).cast::<AtomicU64>().add(map * self.words + word) }
    }

    // Relaxed for bitmaps: `lock`, or the state word, orders `alloc` and `doomed`, and the collector's handshakes
    // order the marks with the sweeps before and after.

    fn flip(&self) -> usize {
        // Relaxed: changes only while nobody marks; the collector's handshakes order that with the marking.
        self.flip.load(Ordering::Relaxed)
    }

    fn alloc(&self, word: usize) -> &AtomicU64 {
        self.bit_word(1 - self.flip(), word)
    }

    fn mark_word(&self, word: usize) -> &AtomicU64 {
        self.bit_word(self.flip(), word)
    }

    fn doomed(&self, word: usize) -> &AtomicU64 {
        self.bit_word(2, word)
    }

    /// Takes a free cell; the caller's cache holds the span.
    #[inline]
    pub(crate) fn take(&self) -> Option<usize> {
        // Relaxed, all of these: words of the cache that holds the span, which is the caller's.
        let reserve = self.reserve.load(Ordering::Relaxed);
        if reserve == 0 {
            return self.take_slow();
        }
        self.reserve.store(reserve & (reserve - 1), Ordering::Relaxed);
        Some(self.word.load(Ordering::Relaxed) * 64 + reserve.trailing_zeros() as usize)
    }

    /// Reserves the free cells of the next word that has any.
    #[cold]
    fn take_slow(&self) -> Option<usize> {
        let _held = self.lock.lock();
        // Relaxed: `word` and `reserve` are the caller's, as in `take`; the bits are under the lock.
        for word in self.word.load(Ordering::Relaxed)..self.words {
            let free = !self.alloc(word).load(Ordering::Relaxed);
            if free != 0 {
                self.look(word, free);
                self.alloc(word).store(!0, Ordering::Relaxed);
                self.word.store(word, Ordering::Relaxed);
                self.reserve.store(free & (free - 1), Ordering::Relaxed);
                return Some(word * 64 + free.trailing_zeros() as usize);
            }
        }
        self.word.store(self.words, Ordering::Relaxed);
        None
    }

    /// Poisons cells of a word that are free from now on, if the span has poison.
    fn fill(&self, word: usize, cells: u64) {
        if self.poison.get().is_some() {
            self.each(word, cells, |start, bytes| {
                // SAFETY: the caller has the span or its lock, and nobody uses the cells.
                unsafe { poison::fill(start, bytes) };
            });
        }
    }

    /// Tells of free cells of a word that were written to, if the span has poison.
    #[inline]
    fn look(&self, word: usize, cells: u64) {
        if let Some(report) = self.poison.get() {
            self.each(word, cells, |cell, bytes| {
                // SAFETY: the caller has the lock, and each free cell was filled when it became free.
                if let Some((offset, found)) = unsafe { poison::spoilt(cell, bytes) } {
                    report(&Spoilt { cell, offset, found, class: self.class().spec });
                }
            });
        }
    }

    /// Calls `f` with start and bytes of cells of a word.
    fn each(&self, word: usize, mut cells: u64, f: impl Fn(usize, usize)) {
        let bytes = self.class().geometry.cell;
        while cells != 0 {
            f(self.span().cell_at(word * 64 + cells.trailing_zeros() as usize), bytes);
            cells &= cells - 1;
        }
    }

    fn class(&self) -> &Class {
        // SAFETY: the class that the span was made for; classes live as long as the heap. (A span apart from a heap
        // has none, nor poison, without which nobody asks.)
        unsafe { &*self.class_ptr() }
    }

    /// Gives the cells back that were reserved and not handed out; true if any cell is free then.
    pub(crate) fn unreserve(&self) -> bool {
        let _held = self.lock.lock();
        self.return_reserve();
        // Relaxed: under the lock.
        (0..self.words).any(|word| self.alloc(word).load(Ordering::Relaxed) != !0)
    }

    fn return_reserve(&self) {
        // Relaxed, all of these: the caller has the span, by its cache or by the claim of a stale one, which comes after
        // the collector's handshake with that cache; and it has the lock.
        let reserve = self.reserve.swap(0, Ordering::Relaxed);
        if reserve != 0 {
            self.alloc(self.word.load(Ordering::Relaxed)).fetch_and(!reserve, Ordering::Relaxed);
        }
        self.word.store(0, Ordering::Relaxed);
    }

    /// Sets the mark; true if it was clear.
    pub(crate) fn mark(&self, cell: usize) -> bool {
        marks::mark(self.mark_word(cell / 64), cell)
    }

    pub(crate) fn is_marked(&self, cell: usize) -> bool {
        marks::is_marked(self.mark_word(cell / 64), cell)
    }

    /// Cells whose mark is set; nobody sweeps.
    pub(crate) fn marked(&self) -> Bits {
        let mut marked = [0; WORDS];
        for (word, bits) in marked.iter_mut().enumerate().take(self.words) {
            *bits = marks::all(self.mark_word(word)) & self.real(word);
        }
        marked
    }

    /// Cells that are allocated and not doomed; exact while nobody allocates or sweeps.
    pub(crate) fn live(&self) -> Bits {
        let _held = self.lock.lock();
        let mut live = [0; WORDS];
        // Relaxed: bits are under the lock, and nobody allocates meanwhile.
        for (word, bits) in live.iter_mut().enumerate().take(self.words) {
            let allocated = self.alloc(word).load(Ordering::Relaxed) & self.real(word);
            *bits = allocated & !self.doomed(word).load(Ordering::Relaxed);
        }
        let word = self.word.load(Ordering::Relaxed);
        if word < self.words {
            live[word] &= !self.reserve.load(Ordering::Relaxed);
        }
        live
    }

    /// Bits of a word that stand for cells.
    fn real(&self, word: usize) -> u64 {
        let cells = (self.span().capacity() as usize).saturating_sub(word * 64);
        if cells >= 64 { !0 } else { !(!0 << cells) }
    }

    /// Frees or dooms all white cells and clears the marks. The caller has claimed the span.
    pub(crate) fn sweep(&self, doom: bool) -> Swept {
        let _held = self.lock.lock();
        self.return_reserve();
        let mut swept = Swept::default();
        for word in 0..self.words {
            self.sweep_word(word, doom, &mut swept);
        }
        // Relaxed, both: nobody marks; what is done here is handed on with the state word.
        self.flip.store(1 - self.flip(), Ordering::Relaxed);
        for word in 0..self.words {
            self.mark_word(word).store(0, Ordering::Relaxed);
        }
        swept
    }

    /// Makes the marks of one word what its allocation bits shall be.
    fn sweep_word(&self, word: usize, doom: bool, swept: &mut Swept) {
        let real = self.real(word);
        // Relaxed, all of these: under the lock, while nobody marks.
        let allocated = self.alloc(word).load(Ordering::Relaxed) & real;
        let marked = self.mark_word(word).load(Ordering::Relaxed);
        let doomed = self.doomed(word).load(Ordering::Relaxed);
        let dead = allocated & !marked & !doomed;
        let kept = marked | doomed | if doom { dead } else { 0 };
        if doom {
            self.doomed(word).store(doomed | dead, Ordering::Relaxed);
            swept.doomed += dead.count_ones();
        } else {
            swept.freed += dead.count_ones();
            self.fill(word, dead);
        }
        swept.live += kept.count_ones();
        self.mark_word(word).store(kept | !real, Ordering::Relaxed);
    }

    /// The cells that wait for their destructor.
    pub(crate) fn doomed_cells(&self) -> Bits {
        let _held = self.lock.lock();
        let mut cells = [0; WORDS];
        // Relaxed: under the lock.
        for (word, bits) in cells.iter_mut().enumerate().take(self.words) {
            *bits = self.doomed(word).load(Ordering::Relaxed);
        }
        cells
    }

    /// Frees cells whose destructor has run. First tells `before` whether others are doomed: once
    /// the cells are free, a sweeper may take the record away.
    pub(crate) fn free_doomed(&self, cells: &Bits, before: impl FnOnce(bool)) {
        let _held = self.lock.lock();
        // Relaxed, all of these: under the lock.
        let bits = cells.iter().enumerate().take(self.words);
        before(
            bits.clone().any(|(word, bits)| self.doomed(word).load(Ordering::Relaxed) & !bits != 0),
        );
        for (word, bits) in bits {
            self.fill(word, *bits);
            self.doomed(word).fetch_and(!bits, Ordering::Relaxed);
            self.alloc(word).fetch_and(!bits, Ordering::Relaxed);
        }
    }
}
