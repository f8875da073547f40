//! Frees into a small span by threads that do not own it: a freed cell is found once by whoever owns the span
//! next, with what was done to it before (A11); and a full span that nobody owns is put back by
//! exactly one free, whatever its last owner does meanwhile.
#![cfg(loom)]

use alloc_core::remote::{Batch, Freed, Remote, State};
use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use loom_tests::model;

/// The cells of a span: neighbours, and one whose bit lies in another word.
const CELLS: [usize; 3] = [0, 1, 64];

/// A span of three cells, all handed out; most models free two.
struct Span {
    remote: Remote,
    /// What users write to the cells: loom reports who has one beside another.
    contents: [UnsafeCell<usize>; 3],
    /// The owner's part of the record: loom reports two owners at once.
    owned: UnsafeCell<usize>,
    /// Times the span was handed to the central.
    put_back: AtomicUsize,
}

// SAFETY: the word decides who touches cells and record, which is what the models check.
unsafe impl Sync for Span {}
// SAFETY: as above.
unsafe impl Send for Span {}

impl Span {
    fn new() -> Arc<Self> {
        let cell = || UnsafeCell::new(0);
        Arc::new(Span {
            remote: Remote::new(),
            contents: [cell(), cell(), cell()],
            owned: UnsafeCell::new(0),
            put_back: AtomicUsize::new(0),
        })
    }

    /// What only an owner does.
    fn touch(&self) {
        // SAFETY: the caller owns the span; loom checks that.
        self.owned.with_mut(|turns| unsafe { *turns += 1 });
    }

    /// What a block's user does.
    fn write(&self, cell: usize) {
        // SAFETY: the cell is the caller's; loom checks that.
        self.contents[cell].with_mut(|contents| unsafe { *contents += 1 });
    }

    fn free(&self, cell: usize) -> Freed {
        self.write(cell);
        self.remote.free(CELLS[cell])
    }

    /// Frees two cells at once.
    fn free_both(&self, cells: [usize; 2]) -> Freed {
        let mut batch = Batch::default();
        for cell in cells {
            self.write(cell);
            batch.add(&self.remote, CELLS[cell]);
        }
        batch.finish(&self.remote).unwrap()
    }

    /// As [`Span::free`], and does what a free must do then.
    fn free_and_settle(&self, cell: usize) {
        if self.free(cell) == Freed::PutBack {
            self.touch();
            self.put_back.fetch_add(1, Ordering::Relaxed);
            self.remote.arrive();
        }
    }

    /// Takes what was freed, as the owner, and uses it; returns the cells as bits.
    fn take(&self) -> usize {
        let mut cells = 0_usize;
        let count = self.remote.take(|word, bits| {
            let found =
                |&cell: &usize| CELLS[cell] / 64 == word && bits >> (CELLS[cell] % 64) & 1 == 1;
            (0..3).filter(found).for_each(|cell| {
                self.write(cell);
                cells |= 1 << cell;
            });
        });
        assert_eq!(cells.count_ones(), count, "as many as were counted");
        cells
    }

    /// Takes the rest, after `taken`, when everybody is done.
    fn take_rest(&self, taken: usize) -> usize {
        let more = self.take();
        assert_eq!(taken & more, 0, "a cell was found twice");
        taken | more
    }
}

#[test]
fn the_owner_finds_each_freed_cell_once() {
    model("remote, take", 2, || {
        let span = Span::new();
        let frees: Vec<_> = (0..2)
            .map(|cell| {
                let span = span.clone();
                thread::spawn(move || assert_eq!(span.free(cell), Freed::Queued))
            })
            .collect();
        let taken = span.take();
        frees.into_iter().for_each(|free| free.join().unwrap());
        assert_eq!(span.take_rest(taken), 0b11);
    });
}

#[test]
fn an_owner_that_takes_twice_is_owed_no_cell() {
    model("remote, owed", 3, || {
        let span = Span::new();
        let frees: Vec<_> = [0, 1]
            .map(|cell| {
                let span = span.clone();
                thread::spawn(move || assert_eq!(span.free(cell), Freed::Queued))
            })
            .into();
        let taken = span.take();
        let taken = span.take_rest(taken);
        frees.into_iter().for_each(|free| free.join().unwrap());
        assert_eq!(span.take_rest(taken), 0b11);
    });
}

#[test]
fn a_batch_of_cells_is_found_whole_beside_a_single_one() {
    model("remote, batch", 2, || {
        let span = Span::new();
        // Of two words, and of one that the single cell shares.
        let batch = {
            let span = span.clone();
            thread::spawn(move || assert_eq!(span.free_both([1, 2]), Freed::Queued))
        };
        let single = {
            let span = span.clone();
            thread::spawn(move || assert_eq!(span.free(0), Freed::Queued))
        };
        let taken = span.take();
        batch.join().unwrap();
        single.join().unwrap();
        assert_eq!(span.take_rest(taken), 0b111);
    });
}

#[test]
fn a_full_span_is_put_back_once_and_loses_no_cell() {
    model("remote, put back", 2, || {
        let span = Span::new();
        let frees: Vec<_> = (0..2)
            .map(|cell| {
                let span = span.clone();
                thread::spawn(move || span.free_and_settle(cell))
            })
            .collect();
        // The owner lets go, unless a cell came back before; then it keeps the span.
        let owner = {
            let span = span.clone();
            thread::spawn(move || {
                span.touch();
                span.remote.disown_full(2).is_err()
            })
        };
        frees.into_iter().for_each(|free| free.join().unwrap());
        let kept = owner.join().unwrap();
        if kept {
            assert_eq!(span.put_back.load(Ordering::Relaxed), 0);
        } else {
            assert_eq!(span.put_back.load(Ordering::Relaxed), 1, "exactly one free puts it back");
            assert!(span.remote.snapshot().is_empty());
            span.remote.claim();
        }
        span.touch();
        assert_eq!(span.take(), 0b11);
    });
}

#[test]
fn one_of_adopter_and_remote_free_takes_the_full_span() {
    model("remote, adopt", 2, || {
        let span = Span::new();
        let last = {
            let span = span.clone();
            thread::spawn(move || {
                span.touch();
                span.remote.disown_full(2).is_err()
            })
        };
        let remote = {
            let span = span.clone();
            thread::spawn(move || span.free_and_settle(0))
        };
        let adopter = {
            let span = span.clone();
            thread::spawn(move || {
                let adopted = span.remote.adopt();
                if adopted {
                    span.touch();
                } else {
                    span.free_and_settle(1);
                }
                adopted
            })
        };
        remote.join().unwrap();
        let (adopted, kept) = (adopter.join().unwrap(), last.join().unwrap());
        let put_back = span.put_back.load(Ordering::Relaxed);
        assert_eq!(usize::from(adopted) + usize::from(kept) + put_back, 1, "one has it");
        if put_back == 1 {
            span.remote.claim();
        }
        span.touch();
        assert_eq!(span.take(), if adopted { 0b01 } else { 0b11 });
    });
}

#[test]
fn the_last_free_of_a_listed_span_says_that_it_is_empty() {
    model("remote, list", 2, || {
        let span = Span::new();
        let frees: Vec<_> = (0..2)
            .map(|cell| {
                let span = span.clone();
                thread::spawn(move || span.free(cell) == Freed::Emptied)
            })
            .collect();
        let owner = {
            let span = span.clone();
            thread::spawn(move || {
                span.touch();
                span.remote.list(2);
                span.remote.snapshot().is_empty()
            })
        };
        let told: usize = frees.into_iter().map(|free| usize::from(free.join().unwrap())).sum();
        let found_empty = owner.join().unwrap();
        assert!(told <= 1, "two frees cannot both be the last");
        assert!(told == 1 || found_empty, "or both came before it was listed");
        assert_eq!(span.remote.snapshot().state(), State::Listed);
        span.remote.claim();
        span.touch();
        assert_eq!(span.take(), 0b11);
    });
}
