//! The allocator under stress, with an oracle that reports two live blocks at one address at once.
//!
//! More threads than cores, which come and go; blocks of every size and alignment that move
//! between them; caches that are flushed, dropped and handed to another thread; frees without a
//! cache; pages that go back to the system meanwhile, in every other round as soon as they are free, by a
//! scavenger that never rests. The rounds between have a memory limit, and in these alone a request may be
//! refused. `ALLOC_STRESS_SECONDS` sets how long (1 by default, and two rounds at least; CI takes 30); a heap over
//! the treap takes a quarter of that after it.

mod mixer;

use std::{
    alloc::Layout,
    ptr::NonNull,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use alloc_core::{
    Cache, Heap,
    page_heap::{PageHeap, Radix, Treap},
    pages::{os::Os, with::With},
    scavenge::Eager,
};
use mixer::{Memory, Mixer, Shared, oracle::Random};

/// A cache that now and then is another one, and frees that now and then need none.
struct Caches<'a, P: PageHeap + 'static> {
    heap: &'static Heap<With<P, Os>>,
    cache: Cache<'static, With<P, Os>>,
    /// Caches that somebody left for somebody.
    left: &'a Mutex<Vec<Cache<'static, With<P, Os>>>>,
    without: bool,
}

impl<P: PageHeap + 'static> Memory for Caches<'_, P> {
    fn alloc(&mut self, layout: Layout, zeroed: bool) -> Option<NonNull<u8>> {
        if zeroed { self.cache.alloc_zeroed(layout).ok() } else { self.cache.alloc(layout).ok() }
    }

    unsafe fn realloc(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        size: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: passed on.
        unsafe { self.cache.realloc(block, layout, size).ok() }
    }

    unsafe fn free(&mut self, block: NonNull<u8>, _layout: Layout) {
        if self.without {
            // SAFETY: passed on.
            unsafe { self.heap.free(block) }
        } else {
            // SAFETY: passed on.
            unsafe { self.cache.free(block) }
        }
    }

    fn turn(&mut self, random: &mut Random) {
        self.without = random.once_in(16);
        match random.below(20_000) {
            0..=9 => self.cache.flush(),
            10..=19 => self.cache = self.heap.cache(),
            20..=39 => {
                let mut left = self.left.lock().unwrap();
                let other = left.pop().unwrap_or_else(|| self.heap.cache());
                left.push(std::mem::replace(&mut self.cache, other));
            }
            40 => drop(self.heap.release()),
            41 => drop(self.heap.stats()),
            _ => {}
        }
    }
}

/// Steps of a thread in a round, and the requests of all at least: of 16 steps 7 allocate.
const STEPS: usize = 10_000;
const REQUESTS: usize = 5 * STEPS * 7 / 20;

/// The limit of every other round. Six threads want several times as much.
const LIMIT: usize = 64 << 20;

fn seconds() -> Duration {
    let seconds = std::env::var("ALLOC_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}

/// One of those who work, until this is dropped.
struct Working<'a>(&'a AtomicUsize);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        // Relaxed: a number that says no more than itself.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives back whatever it finds, for as long as others work.
fn scavenge<P: PageHeap>(heap: &Heap<With<P, Os>>, working: &AtomicUsize) {
    let mut scavenger = heap.scavenger(Eager).expect("one at a time");
    // Relaxed: as above.
    while working.load(Ordering::Relaxed) > 0 {
        scavenger.step(Duration::ZERO);
        thread::yield_now();
    }
}

fn stress<P: PageHeap + 'static>(time: Duration) {
    let heap: &'static Heap<_> = Box::leak(Box::new(Heap::new(With::<P, Os>::new(Os::new()))));
    let (shared, left) = (Shared::new(), Mutex::new(Vec::new()));
    let end = Instant::now() + time;
    let mut round = 0;
    while round < 2 || Instant::now() < end {
        round += 1;
        let scavenged = round % 2 == 1;
        heap.set_limit(if scavenged { usize::MAX } else { LIMIT });
        let working = AtomicUsize::new(6);
        thread::scope(|scope| {
            if scavenged {
                scope.spawn(|| scavenge(heap, &working));
            }
            for n in 0..6 {
                let (shared, left) = (&shared, &left);
                let memory = Caches { heap, cache: heap.cache(), left, without: false };
                let mut mixer = Mixer::new(shared, memory, round * 100 + n);
                let working = Working(&working);
                scope.spawn(move || {
                    let _working = working;
                    (0..STEPS)
                        .for_each(|_| if n == 0 { mixer.only_receive() } else { mixer.step() });
                    mixer.end();
                });
            }
        });
        let memory = Caches { heap, cache: heap.cache(), left: &left, without: false };
        assert!(Mixer::new(&shared, memory, 1).end(), "every block that was entered was freed");
        let (served, refused) = shared.outcomes();
        assert!(served > REQUESTS, "{served} served, {refused} refused");
        assert_eq!(refused == 0, scavenged, "refused by the limit, and by nothing else: {refused}");
    }
    drop(left);
    heap.release();
    let stats = heap.stats();
    assert_eq!((stats.small, stats.large, stats.free), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.mapped, stats.released + stats.metadata + stats.tables);
}

#[test]
fn live_blocks_never_overlap_and_keep_their_contents() {
    stress::<Radix>(seconds());
    stress::<Treap>(seconds() / 4);
}
