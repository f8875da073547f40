//! The word of a small span: a cell freed by another thread is found once by whoever owns the span
//! next, with what was written into it (A11); and a full span that nobody owns is put back by
//! exactly one free, whatever its last owner does meanwhile.
#![cfg(loom)]

use alloc_core::remote::{Pushed, Remote, Snapshot, State};
use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use loom_tests::model;

const NONE: usize = usize::MAX;

/// A cell: its link while it is free, and its contents while it is not.
struct Cell {
    link: UnsafeCell<usize>,
}

/// A span of three cells, all handed out; most models free two.
struct Span {
    word: Remote,
    cells: [Cell; 3],
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
        let cell = || Cell { link: UnsafeCell::new(NONE) };
        Arc::new(Span {
            word: Remote::new(),
            cells: [cell(), cell(), cell()],
            owned: UnsafeCell::new(0),
            put_back: AtomicUsize::new(0),
        })
    }

    /// What only an owner does.
    fn touch(&self) {
        // SAFETY: the caller owns the span; loom checks that.
        self.owned.with_mut(|turns| unsafe { *turns += 1 });
    }

    fn free(&self, cell: usize) -> Pushed {
        self.word.push(cell as u32, |next| {
            let next = next.map_or(NONE, |next| next as usize);
            // SAFETY: the cell is the caller's until the push succeeds.
            self.cells[cell].link.with_mut(|link| unsafe { *link = next });
        })
    }

    /// Frees the first two cells by one push.
    fn free_chain(&self) {
        // SAFETY: the cells are the caller's until the push succeeds.
        self.cells[0].link.with_mut(|link| unsafe { *link = 1 });
        let pushed = self.word.push_chain(0, 2, |next| {
            let next = next.map_or(NONE, |next| next as usize);
            // SAFETY: as above.
            self.cells[1].link.with_mut(|link| unsafe { *link = next });
        });
        assert_eq!(pushed, Pushed::Queued);
    }

    /// As [`Span::free`], and does what a free must do then.
    fn free_and_settle(&self, cell: usize) {
        if self.free(cell) == Pushed::PutBack {
            self.touch();
            self.put_back.fetch_add(1, Ordering::Relaxed);
            self.word.arrive();
        }
    }

    /// Walks a list that was taken, as its new owner, and returns the bits of its cells.
    fn walk(&self, list: Snapshot) -> usize {
        let (mut at, mut bits, mut count) = (list.head().map_or(NONE, |h| h as usize), 0, 0);
        while at != NONE {
            assert_eq!(bits & (1 << at), 0, "a cell is on the list twice");
            bits |= 1 << at;
            count += 1;
            // SAFETY: the cell is on the list that the caller took.
            at = self.cells[at].link.with(|link| unsafe { *link });
        }
        assert_eq!(count, list.count(), "the count is the length");
        bits
    }
}

#[test]
fn the_owner_finds_each_freed_cell_once() {
    model("remote, take", 2, || {
        let span = Span::new();
        let frees: Vec<_> = (0..2)
            .map(|cell| {
                let span = span.clone();
                thread::spawn(move || assert_eq!(span.free(cell), Pushed::Queued))
            })
            .collect();
        let owner = {
            let span = span.clone();
            thread::spawn(move || span.word.take().map_or(0, |list| span.walk(list)))
        };
        frees.into_iter().for_each(|free| free.join().unwrap());
        let mut bits = owner.join().unwrap();
        if let Some(list) = span.word.take() {
            let more = span.walk(list);
            assert_eq!(bits & more, 0, "a cell was found twice");
            bits |= more;
        }
        assert_eq!(bits, 0b11);
    });
}

#[test]
fn a_chain_of_cells_is_found_whole_beside_a_single_one() {
    model("remote, chain", 2, || {
        let span = Span::new();
        let chain = {
            let span = span.clone();
            thread::spawn(move || span.free_chain())
        };
        let single = {
            let span = span.clone();
            thread::spawn(move || assert_eq!(span.free(2), Pushed::Queued))
        };
        let owner = {
            let span = span.clone();
            thread::spawn(move || span.word.take().map_or(0, |list| span.walk(list)))
        };
        chain.join().unwrap();
        single.join().unwrap();
        let mut bits = owner.join().unwrap();
        if let Some(list) = span.word.take() {
            let more = span.walk(list);
            assert_eq!(bits & more, 0, "a cell was found twice");
            bits |= more;
        }
        assert_eq!(bits, 0b111);
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
                span.word.disown_full(2).is_err()
            })
        };
        frees.into_iter().for_each(|free| free.join().unwrap());
        let kept = owner.join().unwrap();
        let list = if kept {
            assert_eq!(span.put_back.load(Ordering::Relaxed), 0);
            span.word.take().unwrap()
        } else {
            assert_eq!(span.put_back.load(Ordering::Relaxed), 1, "exactly one free puts it back");
            assert!(span.word.snapshot().is_empty());
            span.word.claim()
        };
        span.touch();
        assert_eq!(span.walk(list), 0b11);
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
                span.word.disown_full(2).is_err()
            })
        };
        let remote = {
            let span = span.clone();
            thread::spawn(move || span.free_and_settle(0))
        };
        let adopter = {
            let span = span.clone();
            thread::spawn(move || {
                let adopted = span.word.adopt();
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
        let list = if put_back == 1 { Some(span.word.claim()) } else { span.word.take() };
        span.touch();
        let bits = span.walk(list.unwrap());
        assert_eq!(bits, if adopted { 0b01 } else { 0b11 });
    });
}

#[test]
fn the_last_free_of_a_listed_span_says_that_it_is_empty() {
    model("remote, list", 2, || {
        let span = Span::new();
        let frees: Vec<_> = (0..2)
            .map(|cell| {
                let span = span.clone();
                thread::spawn(move || span.free(cell) == Pushed::Emptied)
            })
            .collect();
        let owner = {
            let span = span.clone();
            thread::spawn(move || {
                span.touch();
                span.word.list(2);
                span.word.snapshot().is_empty()
            })
        };
        let told: usize = frees.into_iter().map(|free| usize::from(free.join().unwrap())).sum();
        let found_empty = owner.join().unwrap();
        assert!(told <= 1, "two frees cannot both be the last");
        assert!(told == 1 || found_empty, "or both came before it was listed");
        assert_eq!(span.word.snapshot().state(), State::Listed);
        let list = span.word.claim();
        span.touch();
        assert_eq!(span.walk(list), 0b11);
    });
}
