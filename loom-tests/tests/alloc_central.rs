//! The hand-over of a span at the end of a cache (a thread that ends, a processor that goes): frees by
//! others, the central, and a cache that begins meanwhile. Each cell is found once, and a span without
//! a live cell is freed exactly once, by nobody who only remembers it from an earlier life.
#![cfg(loom)]

use alloc_core::handover::{Lists, Record};
use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};
use loom_tests::{model, span::Span};

const ENDING: usize = 1;
const BEGINNING: usize = 2;

/// A span of two live cells, the centrals of two classes, and what only a holder of the span touches.
struct World {
    centrals: [Lists; 2],
    span: Span<2>,
    turns: UnsafeCell<usize>,
    /// One once the span was freed.
    gone: AtomicUsize,
}

// SAFETY: the protocol decides who touches the span, which is what the models check.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    /// The span is of class `class`, in the cache that ends.
    fn new(class: usize) -> Arc<Self> {
        let centrals = [Lists::new(0), Lists::new(1)];
        Arc::new(World {
            centrals,
            span: Span::new(class, ENDING),
            turns: UnsafeCell::new(0),
            gone: AtomicUsize::new(0),
        })
    }

    /// What only one who holds the span may do; returns how often it was done.
    fn touch(&self) -> usize {
        self.turns.with_mut(|turns| {
            // SAFETY: the caller holds the span; loom checks that nobody else does.
            unsafe {
                *turns += 1;
                *turns
            }
        })
    }

    /// One if the span is the caller's to free.
    fn freed(&self, span: Option<Record>) -> usize {
        if span.is_none() {
            return 0;
        }
        self.touch();
        // Relaxed: as in `free`.
        self.gone.store(1, Ordering::Relaxed);
        1
    }

    fn free(&self, cell: usize) -> usize {
        // Relaxed: a value that nothing else depends on.
        assert_eq!(self.gone.load(Ordering::Relaxed), 0, "freed under a live cell");
        self.freed(self.centrals[0].free(*self.span, cell))
    }

    fn end(&self) -> usize {
        self.touch();
        self.freed(self.centrals[0].disown(*self.span, ENDING))
    }
}

#[test]
fn the_last_of_owner_and_two_frees_leaves_the_span_to_be_freed_once() {
    model("central, end of a cache", 2, || {
        let world = World::new(0);
        let frees: Vec<_> = (0..2)
            .map(|cell| {
                let world = world.clone();
                thread::spawn(move || world.free(cell))
            })
            .collect();
        let mut freed = world.end();
        freed += frees.into_iter().map(|free| free.join().unwrap()).sum::<usize>();
        // Whoever found the central busy has left the span there.
        freed += world.freed(world.centrals[0].reap_any());
        assert_eq!(freed, 1);
        assert!(world.centrals[0].claim(BEGINNING).is_none());
    });
}

#[test]
fn a_cache_that_begins_gets_the_span_or_its_last_free_does() {
    model("central, claim", 2, || {
        let world = World::new(0);
        assert_eq!(world.end() + world.free(0), 0, "one cell lives");
        let last = {
            let world = world.clone();
            thread::spawn(move || world.free(1))
        };
        let claimed = world.centrals[0].claim(BEGINNING);
        let mut found = 0;
        if claimed.is_some() {
            world.touch();
            world.span.collect();
            found = world.span.free_cells();
            assert!(
                found == 1 || found == 2,
                "the cell that was freed before, and perhaps the last"
            );
        }
        let freed = last.join().unwrap();
        assert_eq!(freed + usize::from(claimed.is_some()), 1, "one of them has it");
        if claimed.is_some() {
            world.span.collect();
            assert_eq!(world.span.free_cells(), 2, "no cell is lost, after {found}");
        }
    });
}

#[test]
fn who_remembers_a_span_from_an_earlier_life_does_not_reap_it() {
    model("central, another life", 2, || {
        // The span lies empty in the central of class 1, and somebody is late for class 0.
        let world = World::new(1);
        world.touch();
        assert!(world.centrals[1].disown(*world.span, ENDING).is_none());
        for cell in 0..2 {
            let emptied = world.centrals[1].free(*world.span, cell);
            assert_eq!(emptied.is_some(), cell == 1);
        }
        world.span.live_again(1, 2, ENDING);
        let listed = {
            let world = world.clone();
            thread::spawn(move || {
                // Listed with its last live cell freed, taken out, and begun anew in class 0.
                assert!(world.centrals[1].free(*world.span, 0).is_none());
                assert!(world.centrals[1].disown(*world.span, ENDING).is_none());
                let empty = world.centrals[1].free(*world.span, 1).or(world.centrals[1].reap_any());
                assert_eq!(empty, Some(*world.span));
                world.span.live_again(0, 2, BEGINNING);
                world.touch();
            })
        };
        let late = {
            let world = world.clone();
            thread::spawn(move || world.centrals[0].reap(*world.span))
        };
        listed.join().unwrap();
        assert_eq!(late.join().unwrap(), None, "it is in use, or another class's");
    });
}

#[test]
fn a_span_on_its_way_to_another_central_is_not_reaped_from_its_last() {
    model("central, on its way", 2, || {
        // Listed in the central of class 1, emptied, taken out, and begun anew in class 0.
        let world = World::new(1);
        assert!(world.centrals[1].free(*world.span, 0).is_none());
        assert!(world.centrals[1].disown(*world.span, ENDING).is_none());
        assert_eq!(world.centrals[1].free(*world.span, 1), Some(*world.span));
        world.span.live_again(0, 2, BEGINNING);
        let late = {
            let world = world.clone();
            thread::spawn(move || world.centrals[1].reap(*world.span))
        };
        // Full, then freed by others: it lies in the set of class 0, without a live cell.
        assert!(world.centrals[0].disown(*world.span, BEGINNING).is_none());
        let freed =
            world.centrals[0].free(*world.span, 0).or(world.centrals[0].free(*world.span, 1));
        assert_eq!(late.join().unwrap(), None, "it is none of class 1 any more");
        assert_eq!(freed.or(world.centrals[0].reap_any()), Some(*world.span));
    });
}
