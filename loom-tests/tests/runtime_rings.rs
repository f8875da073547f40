//! The bell of dumps: a ring is answered, whenever it comes, by all who listen; who is told to end ends.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use loom_tests::model;
use runtime::rings::{Listener, Rings};
use sched_core::parker::Parker;

struct World {
    rings: Rings,
    /// What those did who have rung.
    deeds: AtomicUsize,
    /// The most deeds that an answer has seen.
    seen: AtomicUsize,
    answers: AtomicUsize,
    answered: Parker,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(World {
            rings: Rings::new(),
            deeds: AtomicUsize::new(0),
            seen: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            answered: Parker::new(),
        })
    }

    fn ring(&self) {
        // Relaxed: the ring publishes it.
        self.deeds.fetch_add(1, Ordering::Relaxed);
        self.rings.ring();
    }

    fn answer(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        // Relaxed, both: the ring was acquired, and the permit publishes.
        self.seen.fetch_max(self.deeds.load(Ordering::Relaxed), Ordering::Relaxed);
        self.answered.unpark();
    }

    /// Waits until an answer has seen so many deeds. A ring that is lost leaves it asleep, and loom says so.
    fn await_answer(&self, deeds: usize) {
        while self.seen.load(Ordering::Relaxed) < deeds {
            self.answered.park();
        }
    }
}

/// Runs `body` beside a thread that listens, which ends when `body` is done.
fn beside_a_listener(world: &Arc<World>, body: impl FnOnce()) {
    let listening = Arc::new(Listening::new(world));
    let listener = {
        let (listening, world) = (listening.clone(), world.clone());
        thread::spawn(move || listening.0.listen(|| world.answer()))
    };
    body();
    listening.0.end();
    listener.join().unwrap();
}

/// A listener that threads of a model may share: it borrows from the world, which they keep.
struct Listening(
    Listener<'static>,
    #[expect(dead_code, reason = "kept for the borrow")] Arc<World>,
);

impl Listening {
    fn new(world: &Arc<World>) -> Self {
        // SAFETY: the world is kept beside what borrows from it, and dropped after it.
        let rings = unsafe { &*core::ptr::from_ref(&world.rings) };
        Listening(Listener::new(rings), world.clone())
    }
}

/// A ring before, while, or after the listener goes to sleep; and a second one, perhaps during the answer.
#[test]
fn each_ring_is_answered() {
    model("each_ring_is_answered", 2, || {
        let world = World::new();
        beside_a_listener(&world, || {
            world.ring();
            world.await_answer(1);
            world.ring();
            world.await_answer(2);
        });
        assert_eq!(world.answers.load(Ordering::Relaxed), 2);
    });
}

/// Two at once are answered once or twice, and the last answer knows of both.
#[test]
fn two_rings_at_once_are_answered() {
    model("two_rings_at_once_are_answered", 2, || {
        let world = World::new();
        beside_a_listener(&world, || {
            let other = {
                let world = world.clone();
                thread::spawn(move || world.ring())
            };
            world.ring();
            world.await_answer(2);
            other.join().unwrap();
        });
    });
}

/// Of two listeners one ends, and the other goes on.
#[test]
fn all_listeners_answer_and_each_ends_by_itself() {
    model("all_listeners_answer_and_each_ends_by_itself", 2, || {
        let (world, other) = (World::new(), Arc::new(AtomicUsize::new(0)));
        let beside = Arc::new(Listening::new(&world));
        let second = {
            let (beside, other) = (beside.clone(), other.clone());
            thread::spawn(move || {
                beside.0.listen(|| {
                    other.fetch_add(1, Ordering::Relaxed);
                    beside.0.end();
                });
            })
        };
        beside_a_listener(&world, || {
            world.ring();
            world.await_answer(1);
            second.join().unwrap();
            world.ring();
            world.await_answer(2);
        });
        assert_eq!(other.load(Ordering::Relaxed), 1);
    });
}
