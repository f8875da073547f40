//! Posts of the collector's servants: one holder at a time, and a request that comes while one ends, or rests, is served.
//!
//! A lost request shows as one that is there when all have ended, or as a deadlock of one who rests.
#![cfg(loom)]

use std::time::{Duration, Instant};

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use loom_tests::model;
use runtime::post::{Post, Resting};

const HOUR: Duration = Duration::from_secs(3600);

struct World {
    post: Post,
    /// One at a time starts a servant.
    homes: Mutex<()>,
    resting: Resting,
    /// What each of those who ask has asked for and not got.
    asked: [AtomicBool; 2],
    served: AtomicUsize,
    /// The holder's.
    work: UnsafeCell<usize>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(World {
            post: Post::new(),
            homes: Mutex::new(()),
            resting: Resting::new(),
            asked: [AtomicBool::new(false), AtomicBool::new(false)],
            served: AtomicUsize::new(0),
            work: UnsafeCell::new(0),
        })
    }

    // Relaxed, throughout: what orders requests is the post, or the lock of the rest.
    fn is_asked(&self) -> bool {
        self.asked.iter().any(|asked| asked.load(Ordering::Relaxed))
    }

    fn serve(&self) -> bool {
        self.asked.iter().for_each(|asked| asked.store(false, Ordering::Relaxed));
        // SAFETY: the holder alone serves; loom says if that is not so.
        self.work.with_mut(|work| unsafe { *work += 1 });
        self.served.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// The life of a servant that has been started, or is there.
    fn hold(&self) {
        assert!(self.post.hold(|| self.is_asked(), || self.serve()));
    }

    /// Asks, and is the servant that is started, if one is and can be.
    fn ask(&self, who: usize, can: bool) {
        self.asked[who].store(true, Ordering::Relaxed);
        let mut starts = false;
        let homes = self.homes.lock().unwrap();
        let manned = self.post.man(|| {
            starts = can;
            can
        });
        drop(homes);
        assert!(manned || !can);
        self.resting.wake();
        if starts {
            self.hold();
        }
    }
}

/// Runs `f` on a thread of its own.
fn beside(world: &Arc<World>, f: impl FnOnce(&World) + 'static) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || f(&world))
}

/// A servant that was there ends, or serves, or another one does.
#[test]
fn who_asks_while_one_ends_is_served() {
    model("who_asks_while_one_ends_is_served", 3, || {
        let world = World::new();
        assert!(world.post.take());
        let servant = beside(&world, World::hold);
        world.ask(0, true);
        servant.join().unwrap();
        assert!(!world.is_asked() && world.served.load(Ordering::Relaxed) == 1);
        assert!(world.post.take(), "all have ended");
    });
}

/// Two that ask, and one of them, or the servant that was there, serves both.
#[test]
fn two_who_ask_are_served() {
    model("two_who_ask_are_served", 2, || {
        let world = World::new();
        assert!(world.post.take());
        let others = [beside(&world, World::hold), beside(&world, |world| world.ask(1, true))];
        world.ask(0, true);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(!world.is_asked() && world.post.take());
    });
}

/// One that asks and cannot start anybody: he knows, and another, who can, is served beside him.
#[test]
fn a_start_that_is_refused_harms_nobody_else() {
    model("a_start_that_is_refused_harms_nobody_else", 3, || {
        let world = World::new();
        let refused = beside(&world, |world| world.ask(1, false));
        world.ask(0, true);
        refused.join().unwrap();
        assert!(!world.asked[0].load(Ordering::Relaxed), "he has been served");
        assert!(world.post.take(), "all have ended");
    });
}

/// A servant that can serve no more keeps the post: nobody is started beside what it has left.
#[test]
fn a_post_is_kept_where_nobody_can_serve() {
    model("a_post_is_kept_where_nobody_can_serve", 3, || {
        let world = World::new();
        assert!(world.post.take());
        let last = beside(&world, |world| {
            world.asked[1].store(true, Ordering::Relaxed);
            assert!(!world.post.hold(|| world.is_asked(), || false));
        });
        world.ask(0, true);
        last.join().unwrap();
        assert!(world.served.load(Ordering::Relaxed) == 0 && !world.post.take());
    });
}

/// A servant that rests is woken by a request, wherever it is on its way.
#[test]
fn a_rest_ends_with_a_request() {
    model("a_rest_ends_with_a_request", 3, || {
        let world = World::new();
        let asks = beside(&world, |world| {
            world.asked[0].store(true, Ordering::Relaxed);
            world.resting.wake();
        });
        while !world.is_asked() {
            world.resting.rest(Instant::now() + HOUR, || !world.is_asked());
        }
        asks.join().unwrap();
    });
}
