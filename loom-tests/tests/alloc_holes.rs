//! Holes are made in a listed span beside frees by others, a cache that claims it, and a second thread that
//! makes holes: whoever holds the span holds it alone, no live cell loses its contents, no freed one is lost,
//! and a span without a live cell is freed once.
//!
//! Cells stand for the machine's pages: each is one.
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

const CELLS: usize = 3;
const ENDING: usize = 1;
const BEGINNING: usize = 2;

/// A span, its central, what the kernel holds for each cell, and what only a holder of the span touches.
struct World {
    central: Lists,
    span: Span<CELLS>,
    memory: [UnsafeCell<usize>; CELLS],
    turns: UnsafeCell<usize>,
    freed: AtomicUsize,
}

// SAFETY: the protocol decides who touches what, which is what the models check.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    /// The span is listed, cell 0 is free, the others are live.
    fn new() -> Arc<Self> {
        let world = Arc::new(World {
            central: Lists::new(0),
            span: Span::new(0, ENDING),
            memory: std::array::from_fn(|cell| UnsafeCell::new(100 + cell)),
            turns: UnsafeCell::new(0),
            freed: AtomicUsize::new(0),
        });
        world.free(0);
        world.span.collect();
        assert!(world.central.disown(*world.span, ENDING).is_none());
        world
    }

    /// What only one who holds the span may do.
    fn touch(&self) {
        // SAFETY: the caller holds the span; loom checks that nobody else does.
        self.turns.with_mut(|turns| unsafe { *turns += 1 });
    }

    /// What a user does at the end of a block's life.
    fn free(&self, cell: usize) {
        // SAFETY: the cell is live, and ours.
        self.memory[cell].with(|held| assert_eq!(unsafe { *held }, 100 + cell, "cell {cell}"));
        self.end(self.central.free(*self.span, cell));
    }

    fn end(&self, span: Option<Record>) {
        if span.is_some() {
            self.touch();
            // Relaxed: a count that nothing else depends on.
            assert_eq!(self.freed.fetch_add(1, Ordering::Relaxed), 0, "freed twice");
        }
    }

    /// What the scavenger does, or who calls `release`.
    fn make_holes(&self) {
        self.central.begin_walk();
        while let Some(span) = self.central.next_quiet() {
            self.touch();
            span.discard(|cell| {
                // SAFETY: nobody uses a vacant cell.
                self.memory[cell].with_mut(|held| unsafe { *held = 0 });
            });
            self.touch();
            let empty = if span.is_empty() { Some(span) } else { self.central.shelve(span) };
            self.end(empty);
        }
    }

    /// What a cache does that needs all the cells it can get; returns how many those are.
    fn claim(&self) -> Option<usize> {
        let span = self.central.claim(BEGINNING)?;
        self.touch();
        span.collect();
        while span.recall() {}
        self.touch();
        Some(span.free_cells())
    }

    /// Nobody else is there: the span was freed, or all its cells are found.
    fn check(&self, claimed: bool) {
        self.end(self.central.reap_any());
        // Relaxed: as above.
        let freed = self.freed.load(Ordering::Relaxed) == 1;
        if claimed {
            self.span.collect();
            while self.span.recall() {}
            assert_eq!(self.span.free_cells(), CELLS);
        }
        assert!(freed != claimed, "freed: {freed}, claimed: {claimed}");
    }
}

fn spawn(world: &Arc<World>, run: impl FnOnce(&World) + Send + 'static) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || run(&world))
}

#[test]
fn frees_beside_a_scavenger_lose_no_cell_and_free_the_span_once() {
    model("holes, frees", 3, || {
        let world = World::new();
        let free = spawn(&world, |world| world.free(1));
        let scavenger = spawn(&world, World::make_holes);
        world.free(2);
        free.join().unwrap();
        scavenger.join().unwrap();
        world.check(false);
    });
}

#[test]
fn a_cache_claims_the_span_with_its_holes_or_finds_none() {
    model("holes, claim", 3, || {
        let world = World::new();
        let scavenger = spawn(&world, World::make_holes);
        let free = spawn(&world, |world| world.free(1));
        let claimed = world.claim();
        assert!(claimed.is_none_or(|cells| (1..CELLS).contains(&cells)), "{claimed:?}");
        scavenger.join().unwrap();
        free.join().unwrap();
        world.free(2);
        world.check(claimed.is_some());
    });
}

#[test]
fn two_who_make_holes_share_the_walk() {
    model("holes, two walks", 3, || {
        let world = World::new();
        let first = spawn(&world, World::make_holes);
        let second = spawn(&world, World::make_holes);
        world.free(1);
        first.join().unwrap();
        second.join().unwrap();
        world.free(2);
        world.check(false);
    });
}
