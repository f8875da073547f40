//! Pages that go back to the source beside an allocator, by one who gives back or by two at once, as a
//! scavenger's step and `release`: never in two hands, and known to be zero only if they are.
#![cfg(loom)]

use std::ops::Range;

use alloc_core::{
    page_heap::{PageHeap, Pool, Radix, Treap},
    scavenge::release_next,
    sync::Lock,
};
use loom::{cell::UnsafeCell, sync::Arc, thread};
use loom_tests::{memory::Memory, model};

const FIRST: usize = 640;
const PAGES: usize = 3;

struct World<P> {
    pool: Lock<Pool<P>>,
    /// What each page holds. Loom reports two threads at one page.
    pages: [UnsafeCell<u64>; PAGES],
    _room: Memory,
}

// SAFETY: the pool decides who touches a page, which is what the model checks.
unsafe impl<P: Send> Sync for World<P> {}
// SAFETY: as above.
unsafe impl<P: Send> Send for World<P> {}

impl<P: PageHeap> World<P> {
    fn new() -> Arc<Self> {
        let (room, mut pool) = (Memory::default(), Pool::<P>::EMPTY);
        pool.prepare(&room, FIRST..FIRST + PAGES).unwrap();
        pool.add(FIRST..FIRST + PAGES);
        let pages = std::array::from_fn(|_| UnsafeCell::new(0));
        Arc::new(World { pool: Lock::new(pool), pages, _room: room })
    }

    /// What an allocator does: take, look, write, read, free.
    fn allocate(&self, pages: usize, value: u64) {
        let Ok(grant) = self.pool.lock().take(pages, 1) else { return };
        let taken = grant.first..grant.first + pages;
        for page in &self.pages[taken.start - FIRST..taken.end - FIRST] {
            // SAFETY: the page was granted to us.
            page.with_mut(|page| unsafe {
                assert!(!grant.zeroed || *page == 0, "granted as zeroed");
                *page = value;
            });
        }
        for page in &self.pages[taken.start - FIRST..taken.end - FIRST] {
            // SAFETY: as above.
            page.with(|page| assert_eq!(unsafe { *page }, value, "kept what was written"));
        }
        self.pool.lock().put(taken);
    }

    /// What the source does with pages that are lent to it.
    fn decommit(&self, pages: Range<usize>) -> bool {
        for page in &self.pages[pages.start - FIRST..pages.end - FIRST] {
            // SAFETY: the pages were lent.
            page.with_mut(|page| unsafe { *page = 0 });
        }
        true
    }

    /// What the source does that keeps what pages hold.
    fn refuse(&self, pages: Range<usize>) -> bool {
        for page in &self.pages[pages.start - FIRST..pages.end - FIRST] {
            // SAFETY: the pages were lent.
            page.with_mut(|page| unsafe { *page += 100 });
        }
        false
    }

    /// Gives back all that is free, as [`Heap::release`](alloc_core::Heap::release) does.
    fn give_back(&self) {
        let mut from = 0;
        while let Some((end, _)) = release_next(&self.pool, from, 0, 1, |pages| {
            let len = pages.len();
            let done = self.decommit(pages);
            assert!(self.pool.lock().lent() >= len, "they are on loan until they are settled");
            done
        }) {
            from = end;
        }
    }

    fn check(&self) {
        let pool = self.pool.lock();
        assert_eq!((pool.free(), pool.lent(), pool.committed()), (PAGES, 0, PAGES));
        assert!(pool.clean() <= pool.free());
    }
}

fn scavenge<P: PageHeap + 'static>(refused: usize) {
    let world = World::<P>::new();
    world.allocate(2, 7);
    let scavenger = {
        let world = world.clone();
        thread::spawn(move || {
            let (mut from, mut step) = (0, 0);
            while let Some((end, _)) = release_next(&world.pool, from, 0, 1, |pages| {
                step += 1;
                if step <= refused { world.refuse(pages) } else { world.decommit(pages) }
            }) {
                from = end;
            }
        })
    };
    world.allocate(1, 8);
    world.allocate(2, 9);
    scavenger.join().unwrap();
    world.check();
    // Once more, by one thread: everything that is known to be zero, is.
    world.allocate(PAGES, 10);
    world.check();
}

#[test]
fn a_page_is_in_one_hand_with_the_radix_bitmap() {
    model("scavenge, radix", 4, || scavenge::<Radix>(0));
}

#[test]
fn a_page_is_in_one_hand_with_the_treap() {
    model("scavenge, treap", 4, || scavenge::<Treap>(0));
}

#[test]
fn a_source_that_keeps_the_contents_is_believed() {
    model("scavenge, refused", 4, || scavenge::<Radix>(1));
}

/// Two give back at once, with pages in pieces, so that both find some.
fn scavenge_twice<P: PageHeap + 'static>(allocate: bool) {
    let world = World::<P>::new();
    let grant = {
        world.allocate(PAGES, 7);
        world.pool.lock().take_at(FIRST + 1..FIRST + 2).unwrap()
    };
    let other = {
        let world = world.clone();
        thread::spawn(move || world.give_back())
    };
    if allocate {
        world.allocate(1, 8);
    }
    world.give_back();
    other.join().unwrap();
    world.pool.lock().put(grant.first..grant.first + 1);
    world.check();
    world.allocate(PAGES, 10);
    world.check();
}

#[test]
fn two_who_give_back_never_have_one_page() {
    model("scavenge, two", 3, || scavenge_twice::<Radix>(false));
}

#[test]
fn two_who_give_back_beside_an_allocator_have_other_pages() {
    model("scavenge, two and one", 2, || scavenge_twice::<Treap>(true));
}
