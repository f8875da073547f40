//! Who may touch a collected span: one sweeper per cycle gets it (A2), its bits are visible to
//! whoever takes it next, a stale cached span is swept once, whoever gives it up (A3), and the driver
//! goes on when no span waits and no sweeper is at work (A4).
//!
//! The first models have a span's word alone; those with a `World` have the lists, the counts, and the records
//! with their bits.
#![cfg(loom)]

use std::ptr::NonNull;

use alloc_core::managed::{
    apart::{Lists, Record, Room},
    sweepgen::{Generation, SweepWord},
};
use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use loom_tests::model;

/// A span's word, and bits that only its holder touches: loom reports two at once.
struct Span {
    word: SweepWord,
    sweeps: UnsafeCell<usize>,
}

// SAFETY: the word decides who touches the bits, which is what the models check.
unsafe impl Sync for Span {}
// SAFETY: as above.
unsafe impl Send for Span {}

impl Span {
    /// A span in a cache of cycle 0.
    fn new() -> Arc<Self> {
        let word = SweepWord::cached(Generation::of(0));
        Arc::new(Span { word, sweeps: UnsafeCell::new(0) })
    }

    /// Sweeps the span in cycle `cycle`, if it can be claimed.
    fn sweep(&self, cycle: u64) -> bool {
        let now = Generation::of(cycle);
        let claimed = self.word.claim(now);
        if claimed {
            // SAFETY: the claim is the right to touch the bits; loom checks that.
            self.sweeps.with_mut(|sweeps| unsafe { *sweeps += 1 });
            self.word.finish(now);
        }
        claimed
    }

    /// Takes the span into a cache and looks at its bits, as allocation does.
    fn cache(&self, cycle: u64) -> Option<usize> {
        self.word.cache(Generation::of(cycle)).then(|| {
            self.sweeps.with_mut(|sweeps| {
                // SAFETY: a cached span is its cache's; loom checks that.
                unsafe {
                    *sweeps += 10;
                    *sweeps
                }
            })
        })
    }

    fn sweeps(&self) -> usize {
        // SAFETY: all other threads have been joined.
        self.sweeps.with(|sweeps| unsafe { *sweeps })
    }
}

#[test]
fn one_sweeper_gets_the_span_and_a_cache_sees_its_bits() {
    model("sweep, claim", 2, || {
        let span = Span::new();
        assert!(span.word.uncache(Generation::of(0)));
        let sweepers: Vec<_> = (0..2)
            .map(|_| {
                let span = span.clone();
                thread::spawn(move || usize::from(span.sweep(1)))
            })
            .collect();
        let cache = {
            let span = span.clone();
            thread::spawn(move || span.cache(1))
        };
        let claims: usize = sweepers.into_iter().map(|sweeper| sweeper.join().unwrap()).sum();
        let cached = cache.join().unwrap();
        assert_eq!(claims, 1, "exactly one claims it");
        assert!(cached.is_none_or(|bits| bits == 11), "the cache sees the swept bits");
        assert_eq!(span.sweeps() % 10, 1);
    });
}

#[test]
fn a_stale_span_is_swept_once_whoever_gives_it_up() {
    model("sweep, stale", 2, || {
        let span = Span::new();
        let sweepers: Vec<_> = (0..2)
            .map(|_| {
                let span = span.clone();
                thread::spawn(move || usize::from(span.sweep(1)))
            })
            .collect();
        // The cache wakes up in cycle 1 and gives its span of cycle 0 up.
        let cache = {
            let span = span.clone();
            thread::spawn(move || span.word.uncache(Generation::of(0)))
        };
        let mut claims: usize = sweepers.into_iter().map(|sweeper| sweeper.join().unwrap()).sum();
        let given_up = cache.join().unwrap();
        // A sweeper that looked before the cache let go, and one that looked in between, may both
        // have missed it; the next one finds it.
        claims += usize::from(span.sweep(1));
        assert_eq!(claims, 1, "given up: {given_up}");
        assert!(span.word.is_idle(Generation::of(1)) && span.sweeps() == 1);
    });
}

#[test]
fn a_span_is_in_one_cache_at_most() {
    model("sweep, cache", 2, || {
        let span = Span::new();
        assert!(span.sweep(1));
        let caches: Vec<_> = [false, true]
            .map(|gives_up| {
                let span = span.clone();
                thread::spawn(move || {
                    let ours = span.cache(1).is_some();
                    assert!(!ours || !gives_up || span.word.uncache(Generation::of(1)));
                    ours
                })
            })
            .into_iter()
            .collect();
        let sweeper = {
            let span = span.clone();
            thread::spawn(move || span.sweep(1))
        };
        let cached: Vec<_> = caches.into_iter().map(|cache| cache.join().unwrap()).collect();
        assert!(cached.contains(&true));
        assert!(!sweeper.join().unwrap(), "a span of this cycle is nobody's to sweep");
        assert!(span.word.is_of(Generation::of(1)));
    });
}

#[test]
fn the_span_of_a_sleeping_cache_is_swept_once() {
    model("sweep, asleep", 2, || {
        let span = Span::new();
        let sweepers: Vec<_> = (0..2)
            .map(|_| {
                let span = span.clone();
                thread::spawn(move || usize::from(span.sweep(1)))
            })
            .collect();
        let claims: usize = sweepers.into_iter().map(|sweeper| sweeper.join().unwrap()).sum();
        assert_eq!(claims, 1);
        // The cache wakes up: its span is not its own any more.
        assert!(!span.word.uncache(Generation::of(0)));
    });
}

/// Spans of one class, each with two cells of which the first is taken, by a cache of cycle 0.
struct World {
    lists: Lists,
    spans: Vec<Record>,
    /// What only the holder of a span touches: its cache, its sweeper, or the marker.
    turns: Vec<UnsafeCell<usize>>,
    /// The collector's handshake with the cache.
    shaken: AtomicBool,
    _rooms: Vec<UnsafeCell<Room>>,
}

// SAFETY: the protocol decides who touches what, which is what the models check.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    /// `listed` spans, and one that nobody has listed yet, of a cache that acts on cycle `cycle`.
    fn new(listed: usize, cycle: u64) -> Arc<Self> {
        let rooms: Vec<_> = (0..=listed).map(|_| UnsafeCell::new(Room::default())).collect();
        let record = |(index, room): (usize, &UnsafeCell<Room>)| {
            let place = room.with_mut(|room| NonNull::new(room).unwrap());
            let cycle = if index == listed { cycle } else { 0 };
            // SAFETY: it stays in place as long as the world, and only the record uses it.
            let span = unsafe { Record::new(place, 2, cycle) };
            assert_eq!(span.take(), Some(0));
            span
        };
        let spans: Vec<_> = rooms.iter().enumerate().map(record).collect();
        let lists = Lists::new();
        spans[..listed].iter().for_each(|span| lists.list_fresh(*span, 0));
        let turns = rooms.iter().map(|_| UnsafeCell::new(0)).collect();
        Arc::new(World { lists, spans, turns, shaken: AtomicBool::new(false), _rooms: rooms })
    }

    /// What only the holder of a span may do.
    fn touch(&self, span: Record) {
        let index = self.spans.iter().position(|known| *known == span).unwrap();
        // SAFETY: the caller holds the span; loom checks that nobody else does.
        self.turns[index].with_mut(|turns| unsafe { *turns += 1 });
    }

    /// Sweeps what waits for the cycle that it is now, as anyone may at any time. Returns how many.
    fn sweep(&self) -> usize {
        let cycle = self.cycle();
        let now = Generation::of(cycle);
        if !self.lists.sweeping.may_sweep(now) {
            return 0;
        }
        let mut swept = 0;
        while let Some(claimed) = self.lists.sweep(cycle, |span| self.touch(span)) {
            assert_eq!(claimed.live(), 1, "the first cell was marked, and the second is free");
            self.lists.relist(claimed, |_| panic!("a cell lives in it"));
            swept += 1;
        }
        swept
    }

    fn cycle(&self) -> u64 {
        let now = self.lists.sweeping.now();
        (0..3).find(|cycle| Generation::of(*cycle) == now).expect("a model has two cycles")
    }

    /// The marker reaches the first cell of each of `spans`.
    fn mark(&self, spans: &[Record]) {
        for span in spans {
            self.touch(*span);
            assert!(span.mark(0), "the mark of the cycle before is gone");
        }
    }

    /// What the cache of the old cycle does until the handshake: takes cells of its span.
    fn take_and_shake(&self) {
        self.touch(self.spans[0]);
        // Release: the end of a guard; pairs with the Acquire in `await_handshake`.
        self.shaken.store(true, Ordering::Release);
    }

    fn await_handshake(&self) {
        // Acquire: pairs with the Release in `take_and_shake`.
        while !self.shaken.load(Ordering::Acquire) {
            thread::yield_now();
        }
    }

    /// The driver's second half of a cycle: sweeps, and waits for the others who do. Returns how many it swept.
    fn drain(&self) -> usize {
        self.lists.sweeping.permit();
        let swept = self.sweep();
        while !self.lists.sweeping.is_drained() {
            thread::yield_now();
        }
        swept
    }
}

#[test]
fn the_driver_marks_when_no_sweeper_is_at_work() {
    model("sweep, drained", 2, || {
        let world = World::new(2, 0);
        let spans = &world.spans[..2];
        world.mark(spans);
        let sweeper = {
            let world = world.clone();
            thread::spawn(move || world.sweep())
        };
        let cache = {
            let world = world.clone();
            thread::spawn(move || world.take_and_shake())
        };
        world.lists.begin(1);
        world.await_handshake();
        let swept = world.drain();
        world.mark(spans);
        assert_eq!(swept + sweeper.join().unwrap(), 2, "each is swept once");
        cache.join().unwrap();
        assert_eq!((world.sweep(), world.lists.listed()), (0, 2));
    });
}

/// A sweeper that has read the number of one cycle meets the spans of the next.
#[test]
fn a_late_sweeper_leaves_the_next_cycle_alone() {
    model("sweep, late", 2, || {
        let world = World::new(1, 0);
        let spans = &world.spans[..1];
        world.mark(spans);
        world.lists.begin(1);
        world.lists.sweeping.permit();
        let sweeper = {
            let world = world.clone();
            thread::spawn(move || world.sweep())
        };
        let first = world.drain();
        world.mark(spans);
        world.lists.begin(2);
        let second = world.drain();
        world.mark(spans);
        assert_eq!(first + second + sweeper.join().unwrap(), 2, "once in each cycle");
        assert_eq!(world.lists.listed(), 1);
    });
}

/// A cache lists a span that it has made for `cycle`, while cycle 1 begins: it is swept in that one if it is older.
fn a_span_is_made_beside_a_beginning(cycle: u64) {
    let world = World::new(1, cycle);
    world.mark(&world.spans);
    if cycle == 1 {
        world.lists.uncache(world.spans[0], 0);
    }
    let cache = {
        let world = world.clone();
        thread::spawn(move || {
            let span = world.spans[1];
            world.touch(span);
            world.lists.list_fresh(span, cycle);
            let other = if cycle == 1 { world.lists.claim_partial(1) } else { None };
            assert_eq!(other, None, "no span is swept yet in the cycle to come");
            // Release: as in `take_and_shake`.
            world.shaken.store(true, Ordering::Release);
        })
    };
    world.lists.begin(1);
    world.await_handshake();
    assert_eq!(world.drain(), if cycle == 0 { 2 } else { 1 });
    cache.join().unwrap();
    let swept = if cycle == 0 { &world.spans[..] } else { &world.spans[..1] };
    world.mark(swept);
    world.lists.begin(2);
    assert_eq!(world.drain(), 2, "all of them wait in the cycle after");
}

#[test]
fn a_span_of_the_cycle_before_is_swept_at_once() {
    model("sweep, made late", 2, || a_span_is_made_beside_a_beginning(0));
}

#[test]
fn a_span_of_the_cycle_to_come_is_swept_in_the_one_after() {
    model("sweep, made early", 2, || a_span_is_made_beside_a_beginning(1));
}

/// Two caches want a span of a class of which one is swept and one waits.
#[test]
fn two_caches_get_two_spans() {
    model("sweep, two caches", 2, || {
        let world = World::new(2, 0);
        world.mark(&world.spans[..2]);
        world.lists.begin(1);
        world.lists.sweeping.permit();
        let claimed = world.lists.sweep(1, |_| ()).unwrap();
        world.lists.relist(claimed, |_| ());
        let caches: Vec<_> = (0..2)
            .map(|_| {
                let world = world.clone();
                thread::spawn(move || {
                    let sweep = || world.lists.sweep(1, |span| world.touch(span));
                    let keep = |claimed| world.lists.keep(claimed);
                    let span = world.lists.claim_partial(1).or_else(|| sweep().map(keep)).unwrap();
                    world.touch(span);
                    assert_eq!((span.take(), span.take()), (Some(1), None), "one cell is free");
                    world.lists.uncache(span, 1);
                })
            })
            .collect();
        caches.into_iter().for_each(|cache| cache.join().unwrap());
        assert!(world.lists.sweeping.is_drained() && world.lists.claim_partial(1).is_none());
        assert_eq!(world.lists.listed(), 2);
    });
}

/// A span's last doomed cells are free, and it has yet to be offered, when a sweeper frees it. Its record begins a new
/// life, in a cache that leaves it without a free cell.
fn a_span_is_offered_late(of_another_class: bool) {
    let (world, another) = (World::new(1, 0), Lists::of_another_class());
    let span = world.spans[0];
    world.lists.begin(1);
    another.begin(1);
    world.lists.sweeping.permit();
    let destroyer = {
        let world = world.clone();
        thread::spawn(move || world.lists.offer(span))
    };
    let lists = if of_another_class { &another } else { &world.lists };
    let claimed = world.lists.sweep(1, |_| ()).unwrap();
    world.lists.relist(claimed, |span| span.begin(lists, 1));
    lists.list_fresh(span, 1);
    assert_eq!((span.take(), span.take(), span.take()), (Some(0), Some(1), None));
    lists.uncache(span, 1);
    destroyer.join().unwrap();
    assert_eq!(
        (world.lists.listed(), another.listed()),
        if of_another_class { (0, 1) } else { (1, 0) }
    );
}

#[test]
fn a_span_that_is_offered_late_stays_where_it_is() {
    model("sweep, offered late", 2, || a_span_is_offered_late(false));
    model("sweep, offered to another class", 2, || a_span_is_offered_late(true));
}
