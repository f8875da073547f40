//! The mark bits of collected spans: one of those who mark a cell looks into its object, no mark is lost
//! beside another in the same word, and none is taken for one that the last sweep has cleared.
#![cfg(loom)]

use alloc_core::managed::{
    marks::{is_marked, mark},
    sweeping::Sweeping,
};
use loom::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use loom::thread;
use loom_tests::model;

/// Two threads mark a cell each, of one word.
fn two_mark(cells: [usize; 2]) -> ([bool; 2], Arc<AtomicU64>) {
    let word = Arc::new(AtomicU64::new(0));
    let other = thread::spawn({
        let word = word.clone();
        move || mark(&word, cells[1])
    });
    let mine = mark(&word, cells[0]);
    ([mine, other.join().unwrap()], word)
}

#[test]
fn one_object_is_looked_into_once() {
    model("one cell is marked by two", 3, || {
        let (first, word) = two_mark([5, 5]);
        assert!(first[0] != first[1], "one of us looks into it");
        assert!(is_marked(&word, 5) && !is_marked(&word, 6));
    });
}

#[test]
fn no_mark_is_lost_beside_another() {
    model("two cells of one word are marked", 3, || {
        let (first, word) = two_mark([5, 6]);
        assert_eq!(first, [true, true], "nobody else has marked either");
        assert!(is_marked(&word, 5) && is_marked(&word, 6));
    });
}

#[test]
fn a_swept_word_is_clear_for_the_marker() {
    model("a word is swept, then marked", 3, || {
        let word = Arc::new(AtomicU64::new(1 << 5));
        let sweeping = Arc::new(Sweeping::new());
        sweeping.add(1);
        let sweeper = thread::spawn({
            let (word, sweeping) = (word.clone(), sweeping.clone());
            move || {
                // Relaxed: as sweep clears it.
                word.store(0, Ordering::Relaxed);
                sweeping.done();
            }
        });
        while !sweeping.is_drained() {
            thread::yield_now();
        }
        assert!(mark(&word, 5), "the mark of the cycle before is gone");
        sweeper.join().unwrap();
        assert!(is_marked(&word, 5), "and that of this one is not");
    });
}
