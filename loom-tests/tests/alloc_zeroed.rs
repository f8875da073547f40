//! What is known to be zero, is (A7): pages beside a scavenger, and cells above the watermark of a span,
//! whoever has it.
#![cfg(loom)]

use std::{ops::Range, ptr::NonNull};

use alloc_core::{
    handover::{Lists, Record, Room as RecordRoom},
    page_heap::{Pool, Radix},
    scavenge::release_next,
    sync::Lock,
};
use loom::{cell::UnsafeCell, sync::Arc, thread};
use loom_tests::{memory::Memory, model};

/// Cells of a page.
const CELLS: usize = 2;

/// The contents of a page; whoever touches them holds the page, which loom checks by `turns`.
struct Page {
    cells: Box<UnsafeCell<[u64; CELLS]>>,
    turns: UnsafeCell<usize>,
}

impl Page {
    fn new() -> Self {
        Page { cells: Box::new(UnsafeCell::new([0; CELLS])), turns: UnsafeCell::new(0) }
    }

    fn memory(&self) -> NonNull<[u64]> {
        // SAFETY: the caller holds the page; loom checks that.
        self.turns.with_mut(|turns| unsafe { *turns += 1 });
        self.cells.with_mut(|cells| NonNull::new(cells as *mut [u64]).unwrap())
    }
}

/// A place for the record of a span that one thread has.
struct Place(Box<UnsafeCell<RecordRoom>>);

impl Place {
    fn new() -> Self {
        Place(Box::new(UnsafeCell::new(RecordRoom::default())))
    }

    /// The record of a span that was just made of these cells.
    fn span(&self, memory: NonNull<[u64]>, zeroed: bool) -> Record {
        let place = self.0.with_mut(|room| NonNull::new(room).unwrap());
        // SAFETY: the caller holds place and cells, and frees the span before it makes another.
        let span = unsafe { Record::new(place, memory, 0, 1) };
        span.begin(0, CELLS, 1, zeroed);
        span
    }
}

/// Writes to a cell that was allocated; before that it must read as zero if it is known to.
fn write(cell: NonNull<u64>, known_zero: bool) {
    // SAFETY: the cell is the caller's.
    unsafe {
        assert!(!known_zero || cell.read() == 0, "known to be zero");
        cell.write(7);
    }
}

const FIRST: usize = 640;
const PAGES: usize = 2;

struct World {
    pool: Lock<Pool<Radix>>,
    pages: [Page; PAGES],
    _room: Memory,
}

// SAFETY: the pool decides who touches a page, which is what the model checks.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new() -> Arc<Self> {
        let (room, mut pool) = (Memory::default(), Pool::<Radix>::EMPTY);
        pool.prepare(&room, FIRST..FIRST + PAGES).unwrap();
        pool.add(FIRST..FIRST + PAGES);
        let pages = std::array::from_fn(|_| Page::new());
        Arc::new(World { pool: Lock::new(pool), pages, _room: room })
    }

    /// A span's life: one cell as any block, the other as zeroes.
    fn live(&self, place: &Place) {
        let Ok(grant) = self.pool.lock().take(1, 1) else { return };
        let memory = self.pages[grant.first - FIRST].memory();
        let span = place.span(memory, grant.zeroed);
        write(span.take().unwrap(), false);
        let fresh = span.take_fresh();
        assert_eq!(fresh.is_some(), grant.zeroed, "the watermark is that of the pages");
        write(fresh.or_else(|| span.take()).unwrap(), fresh.is_some());
        self.pool.lock().put(grant.first..grant.first + 1);
    }

    fn decommit(&self, pages: Range<usize>) -> bool {
        for page in &self.pages[pages.start - FIRST..pages.end - FIRST] {
            // SAFETY: the pages were lent.
            unsafe { page.memory().cast::<[u64; CELLS]>().write([0; CELLS]) };
        }
        true
    }
}

#[test]
fn cells_of_a_new_span_are_zero_if_its_pages_are() {
    model("zeroed, pages", 3, || {
        let world = World::new();
        let place = Place::new();
        world.live(&place);
        let scavenger = {
            let world = world.clone();
            thread::spawn(move || {
                let mut from = 0;
                while let Some((end, _)) =
                    release_next(&world.pool, from, 0, 1, |pages| world.decommit(pages))
                {
                    from = end;
                }
            })
        };
        world.live(&place);
        scavenger.join().unwrap();
        world.live(&place);
    });
}

/// A span with a fresh cell, its central, and what only its holder touches.
struct Handed {
    central: Lists,
    span: Record,
    turns: UnsafeCell<usize>,
    _place: Place,
    _page: Page,
}

// SAFETY: the protocol of the hand-over decides who touches the span.
unsafe impl Sync for Handed {}
// SAFETY: as above.
unsafe impl Send for Handed {}

impl Handed {
    fn touch(&self) {
        // SAFETY: the caller holds the span; loom checks that nobody else does.
        self.turns.with_mut(|turns| unsafe { *turns += 1 });
    }

    /// Allocates a block of zeroes, as a cache that has the span; cleared if that is not known.
    fn allocate(&self, fresh_first: bool) -> Option<NonNull<u64>> {
        self.touch();
        let fresh = if fresh_first { self.span.take_fresh() } else { None };
        let cell = fresh.or_else(|| self.span.take())?;
        write(cell, fresh.is_some());
        Some(cell)
    }
}

#[test]
fn the_watermark_goes_with_the_span() {
    model("zeroed, hand-over", 3, || {
        let (page, place) = (Page::new(), Place::new());
        let span = place.span(page.memory(), true);
        let (central, turns) = (Lists::new(0), UnsafeCell::new(0));
        let world = Arc::new(Handed { central, span, turns, _place: place, _page: page });
        let first = world.allocate(false).unwrap();
        // Another thread frees the block that was written to, while the cache ends.
        let free = {
            let (world, cell) = (world.clone(), span.index(first));
            thread::spawn(move || world.central.free(world.span, cell).is_some())
        };
        world.touch();
        let mut gone = world.central.disown(span, 1).is_some();
        // A cache that begins takes both cells as zeroes, whichever are free.
        if !gone && world.central.claim(2).is_some() {
            let fresh = world.allocate(true).expect("one cell was never handed out");
            span.collect();
            let other = world.allocate(true);
            assert_ne!(Some(fresh), other, "a cell is handed out once");
        }
        gone |= free.join().unwrap();
        assert!(!gone || world.central.claim(3).is_none());
    });
}
