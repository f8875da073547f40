//! Who may touch a collected span: one sweeper per cycle gets it (A2), its bits are visible to
//! whoever takes it next, a stale cached span is swept once, whoever gives it up (A3), and the driver
//! goes on when no span waits and no sweeper is at work (A4).
#![cfg(loom)]

use alloc_core::{
    managed::{
        sweepgen::{Generation, SweepWord},
        sweeping::Sweeping,
    },
    sync::Lock,
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

/// Two cached spans, the words of the cycle, and the collector's handshake with their cache.
struct World {
    spans: [Span; 2],
    /// The generation of the spans' list. Claims are made under its lock, as on a class's list.
    list: Lock<Generation>,
    sweeping: Sweeping,
    shaken: AtomicBool,
}

impl World {
    fn new() -> Arc<Self> {
        let span =
            || Span { word: SweepWord::cached(Generation::of(0)), sweeps: UnsafeCell::new(0) };
        Arc::new(World {
            spans: [span(), span()],
            list: Lock::new(Generation::of(0)),
            sweeping: Sweeping::new(),
            shaken: AtomicBool::new(false),
        })
    }

    /// Sweeps what can be claimed, as anyone may at any time.
    fn sweep(&self) {
        let now = self.sweeping.now();
        if !self.sweeping.may_sweep(now) {
            return;
        }
        for span in &self.spans {
            let list = self.list.lock();
            let claimed = *list == now && span.word.claim(now);
            drop(list);
            if claimed {
                // SAFETY: the claim is the right to touch the bits; loom checks that.
                span.sweeps.with_mut(|sweeps| unsafe { *sweeps += 1 });
                span.word.finish(now);
                self.sweeping.done();
            }
        }
    }

    /// What the cache of the old cycle does until the handshake: takes cells of its spans.
    fn take_and_shake(&self) {
        for span in &self.spans {
            // SAFETY: the span is this cache's until the handshake; loom checks that.
            span.sweeps.with_mut(|sweeps| unsafe { *sweeps += 10 });
        }
        // Release: the end of a guard; pairs with the Acquire in `drive`.
        self.shaken.store(true, Ordering::Release);
    }

    /// A cycle of the collector: marks once everything is swept.
    fn drive(&self) {
        self.sweeping.begin(1);
        let mut list = self.list.lock();
        *list = Generation::of(1);
        self.sweeping.add(self.spans.len());
        drop(list);
        // Acquire: pairs with the Release in `take_and_shake`.
        while !self.shaken.load(Ordering::Acquire) {
            thread::yield_now();
        }
        self.sweeping.permit();
        self.sweep();
        while !self.sweeping.is_drained() {
            thread::yield_now();
        }
        for span in &self.spans {
            // SAFETY: nobody sweeps any more; loom checks that.
            span.sweeps.with_mut(|sweeps| unsafe {
                assert_eq!(*sweeps, 11, "taken from, then swept once");
                *sweeps += 100;
            });
        }
    }
}

#[test]
fn the_driver_marks_when_no_sweeper_is_at_work() {
    model("sweep, drained", 2, || {
        let world = World::new();
        let sweeper = {
            let world = world.clone();
            thread::spawn(move || world.sweep())
        };
        let cache = {
            let world = world.clone();
            thread::spawn(move || world.take_and_shake())
        };
        world.drive();
        sweeper.join().unwrap();
        cache.join().unwrap();
        world.sweep();
        assert!(world.sweeping.is_drained());
        assert!(world.spans.iter().all(|span| span.sweeps() == 111), "swept once, marked once");
    });
}
