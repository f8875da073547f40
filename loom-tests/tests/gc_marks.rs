//! The mark bits of gc-core's own space: one of those who mark an object looks into it, and no mark is lost
//! beside another in the same word.
#![cfg(loom)]

use core::ptr::NonNull;
use gc_core::space::{Kind, Space, blocks::Blocks};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use loom_tests::model;

static KIND: Kind = Kind { name: || "cell", align: 16, trace: None, drop: None };

/// Two objects whose marks are neighbours.
struct Pair {
    space: Blocks,
    cells: [NonNull<u8>; 2],
}

// SAFETY: cells are addresses; whether marking is fit for threads is what is looked at.
unsafe impl Send for Pair {}
// SAFETY: as above.
unsafe impl Sync for Pair {}

impl Pair {
    fn new() -> Arc<Self> {
        let space = Blocks::new();
        let mut cache = space.cache().expect("there is memory");
        // SAFETY: nobody marks or sweeps yet, and one cycle is all there is.
        let take = |_| unsafe { space.take(&mut cache, &KIND, 16, 1) }.expect("no limit").cell;
        let cells = [(), ()].map(take);
        Arc::new(Self { space, cells })
    }

    fn mark(&self, cell: usize) -> bool {
        // SAFETY: the cell is allocated, and nobody sweeps.
        unsafe { self.space.mark(self.cells[cell]) }.is_some()
    }

    fn is_marked(&self, cell: usize) -> bool {
        // SAFETY: as above.
        unsafe { self.space.is_marked(self.cells[cell]) }
    }
}

#[test]
fn one_object_is_looked_into_once() {
    model("one object is marked by two", 3, || {
        let pair = Pair::new();
        let other = thread::spawn({
            let pair = pair.clone();
            move || pair.mark(0)
        });
        let mine = pair.mark(0);
        assert!(mine != other.join().unwrap(), "one of us looks into it");
        assert!(pair.is_marked(0) && !pair.is_marked(1));
    });
}

#[test]
fn who_is_found_by_the_mark_is_whole() {
    model("an object is found by its mark", 3, || {
        let (pair, object) = (Pair::new(), Arc::new(UnsafeCell::new(0)));
        let other = thread::spawn({
            let (pair, object) = (pair.clone(), object.clone());
            move || {
                // SAFETY: loom checks it.
                object.with_mut(|object| unsafe { *object = 7 });
                pair.mark(0)
            }
        });
        let mut found = 0;
        while found == 0 {
            thread::yield_now();
            let look = &mut |cell, _: &'static Kind| {
                assert_eq!(cell, pair.cells[0]);
                // SAFETY: as above.
                found = object.with(|object| unsafe { *object });
            };
            // SAFETY: nobody sweeps.
            let next = unsafe { pair.space.marked(0, look) };
            assert_eq!(next, Some(1));
        }
        assert_eq!(found, 7);
        assert!(other.join().unwrap());
    });
}

#[test]
fn no_mark_is_lost_beside_another() {
    model("two objects of one word are marked", 3, || {
        let pair = Pair::new();
        let other = thread::spawn({
            let pair = pair.clone();
            move || pair.mark(1)
        });
        assert!(pair.mark(0) && other.join().unwrap(), "nobody else has marked either");
        assert!(pair.is_marked(0) && pair.is_marked(1));
    });
}
