//! Page caches beside the page heap (A5): a page is free in one place, the index loses none, and what one
//! word says is clean is clean. The account (A10): its parts add up to what is mapped whenever somebody
//! reads it, and no span is counted twice or never.
#![cfg(loom)]

use alloc_core::{
    Account,
    page_heap::{Grant, PageHeap, Pool, Radix, Treap},
    scavenge::release_next,
    size_class::PAGE,
    sync::Lock,
};
use loom::{cell::UnsafeCell, sync::Arc, thread};
use loom_tests::{memory::Memory, model};

/// Not at the start of a word or a chunk.
const FIRST: usize = 640;
const PAGES: usize = 4;

struct World<P> {
    pool: Lock<Pool<P>>,
    account: Account,
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
        Arc::new(World { pool: Lock::new(pool), account: Account::new(), pages, _room: room })
    }

    /// Writes to pages that were granted.
    fn write(&self, grant: Grant, pages: usize, value: u64) {
        for page in &self.pages[grant.first - FIRST..][..pages] {
            // SAFETY: the page was granted to us.
            page.with_mut(|page| unsafe {
                assert!(!grant.zeroed || *page == 0, "granted as zeroed");
                *page = value;
            });
        }
    }

    fn put(&self, first: usize, pages: usize) {
        let mut pool = self.pool.lock();
        self.account.free(pages);
        pool.put(first..first + pages);
    }

    /// What a cache does: takes a word, cuts a span out of it without the lock, frees the span to the page
    /// heap, and gives the rest of the word back.
    fn by_word(&self, value: u64) {
        let Some(mut word) = self.pool.lock().take_word(1) else { return };
        while let Some(grant) = word.cut(1) {
            self.account.take_cached(1);
            self.write(grant, 1, value);
            self.put(grant.first, 1);
            if value == LAST {
                break;
            }
        }
        self.pool.lock().put_word(word);
    }

    /// What a large block does.
    fn directly(&self, pages: usize, value: u64) {
        let mut pool = self.pool.lock();
        let Ok(grant) = pool.take(pages, 1) else { return };
        self.account.take(pages);
        drop(pool);
        self.write(grant, pages, value);
        self.put(grant.first, pages);
    }

    /// What whoever asks for statistics sees.
    fn read(&self) {
        let stats = self.account.stats(&self.pool.lock());
        let sum: usize = stats.parts().iter().map(|(_, bytes)| bytes).sum();
        assert_eq!((sum, stats.mapped), (PAGES * PAGE, PAGES * PAGE), "{stats:?}");
    }

    /// With nothing taken, everything is free, and in one run.
    fn check(&self) {
        self.read();
        let stats = self.account.stats(&self.pool.lock());
        assert_eq!((stats.small, stats.cached), (0, 0), "{stats:?}");
        let mut pool = self.pool.lock();
        assert_eq!(pool.free(), PAGES);
        let grant = pool.take(PAGES, 1).expect("all pages are in the index, side by side");
        assert_eq!(grant.first, FIRST);
    }
}

/// A cache that writes this takes one page of its word.
const LAST: u64 = 9;

fn caches_beside_blocks<P: PageHeap + 'static>() {
    let world = World::<P>::new();
    world.directly(2, 1);
    let cache = {
        let world = world.clone();
        thread::spawn(move || world.by_word(LAST))
    };
    world.directly(1, 3);
    world.directly(3, 4);
    cache.join().unwrap();
    // A whole word, by one thread: what is known to be zero, is.
    world.by_word(5);
    world.check();
}

#[test]
fn a_page_is_free_in_one_place_with_the_radix_bitmap() {
    model("pages, radix", 3, caches_beside_blocks::<Radix>);
}

#[test]
fn a_page_is_free_in_one_place_with_the_treap() {
    model("pages, treap", 3, caches_beside_blocks::<Treap>);
}

#[test]
fn the_parts_add_up_whenever_they_are_read() {
    model("pages, account", 3, || {
        let world = World::<Radix>::new();
        world.directly(1, 1);
        let cache = {
            let world = world.clone();
            thread::spawn(move || world.by_word(LAST))
        };
        release_next(&world.pool, 0, 0, 1, |pages| {
            for page in &world.pages[pages.start - FIRST..pages.end - FIRST] {
                // SAFETY: the pages were lent.
                page.with_mut(|page| unsafe { *page = 0 });
            }
            world.read();
            true
        });
        world.directly(1, 2);
        cache.join().unwrap();
        world.check();
    });
}
