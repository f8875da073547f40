//! The mark bits of collected spans: one of those who mark a cell looks into its object, no mark is lost
//! beside another in the same word, and none is taken for one that the last sweep has cleared.
#![cfg(loom)]

use std::ptr::NonNull;

use alloc_core::managed::{
    apart::{Lists, Record, Room},
    marks::{all, is_marked, mark},
};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, atomic::AtomicU64};
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
fn who_is_found_by_the_mark_is_whole() {
    model("an object is found by its mark", 3, || {
        let (word, object) = (Arc::new(AtomicU64::new(0)), Arc::new(UnsafeCell::new(0)));
        let other = thread::spawn({
            let (word, object) = (word.clone(), object.clone());
            move || {
                // SAFETY: loom checks it.
                object.with_mut(|object| unsafe { *object = 7 });
                mark(&word, 5)
            }
        });
        while all(&word) != 1 << 5 {
            thread::yield_now();
        }
        // SAFETY: as above.
        object.with(|object| assert_eq!(unsafe { *object }, 7));
        assert!(other.join().unwrap());
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
        let mut room = Box::new(Room::default());
        let lists = Arc::new(Lists::new());
        // SAFETY: the room stays in place until the end of the model, and only the record uses it.
        let span = unsafe { Record::new(NonNull::from(&mut *room), 8, 0) };
        lists.list_fresh(span, 0);
        assert!((0..6).all(|cell| span.take() == Some(cell)) && span.mark(5));
        lists.begin(1);
        let sweeper = thread::spawn({
            let lists = lists.clone();
            move || {
                let claimed = lists.sweep(1, |_| ()).expect("it waits");
                lists.relist(claimed, |_| panic!("a cell lives in it"));
            }
        });
        while !lists.sweeping.is_drained() {
            thread::yield_now();
        }
        assert!(!span.is_marked(5) && span.mark(5), "the mark of the cycle before is gone");
        sweeper.join().unwrap();
        assert!(span.is_marked(5), "and that of this one is not");
    });
}
