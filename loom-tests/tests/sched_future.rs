//! A future's word: it is polled after every wake and sees what came before it (F1); one that nobody can
//! wake is cancelled, and freed, once (F2); an abort ends it (F3); its joiner is told (F4). A carrier's
//! berth: who rests there is taken once, and not forgotten by whoever closes it (F5).
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use loom_tests::model;
use sched_core::future::berth::Berth;
use sched_core::future::state::{DropHandle, Join, Release, Start, State, Suspend, Wake};

/// A future that is ready when a poll has seen all `wanted` facts.
struct World {
    state: State,
    facts: [AtomicUsize; 2],
    wanted: usize,
    /// The future itself, its result, and the joiner: loom checks that each has one user at a time.
    stage: UnsafeCell<usize>,
    joiner: UnsafeCell<Option<usize>>,
    /// Run references that lie in the queue. Relaxed: the state must order by itself.
    queue: AtomicUsize,
    ended: AtomicUsize,
    cancelled: AtomicUsize,
    freed: AtomicUsize,
    told: AtomicUsize,
}

// SAFETY: a model; loom itself checks the accesses of the cells.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new(wanted: usize) -> Arc<Self> {
        let count = || AtomicUsize::new(0);
        Arc::new(World {
            state: State::scheduled(),
            facts: [count(), count()],
            wanted,
            stage: UnsafeCell::new(0),
            joiner: UnsafeCell::new(None),
            queue: AtomicUsize::new(1),
            ended: count(),
            cancelled: count(),
            freed: count(),
            told: count(),
        })
    }

    fn queue(&self, wake: Wake) {
        if wake == Wake::Schedule {
            self.queue.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A waker: states a fact, and wakes.
    fn state_fact(&self, fact: usize) {
        self.facts[fact].store(1, Ordering::Relaxed);
        self.queue(self.state.wake());
    }

    fn release(&self) {
        match self.state.release() {
            Release::Named => {}
            Release::Schedule => {
                // Who queues it keeps it by a name: its scheduler may end with it.
                self.state.retain();
                self.queue(Wake::Schedule);
                assert_eq!(self.freed.load(Ordering::Relaxed), 0, "freed before it is queued");
                self.release();
            }
            Release::Free => self.free(),
        }
    }

    fn free(&self) {
        // SAFETY: nobody else names it: loom says if that is not so.
        self.stage.with_mut(|stage| unsafe { *stage += 100 });
        self.freed.fetch_add(1, Ordering::Relaxed);
    }

    /// Polls what is in the queue until that is nothing.
    fn carry(&self) {
        while self.queue.load(Ordering::Relaxed) > 0 {
            assert_eq!(self.queue.fetch_sub(1, Ordering::Relaxed), 1, "queued twice");
            match self.state.start() {
                Start::Poll => self.poll(),
                Start::Cancel => self.cancel(),
                Start::Over => self.release(),
            }
        }
    }

    fn poll(&self) {
        // SAFETY: it has been started here.
        self.stage.with_mut(|stage| unsafe { *stage += 1 });
        let seen: usize = self.facts.iter().map(|fact| fact.load(Ordering::Relaxed)).sum();
        if seen >= self.wanted {
            return self.complete();
        }
        match self.state.suspend() {
            Suspend::Idle => {}
            Suspend::Again => self.queue(Wake::Schedule),
            Suspend::Cancel => self.cancel(),
        }
    }

    fn cancel(&self) {
        // SAFETY: as in `poll`.
        self.stage.with_mut(|stage| unsafe { *stage += 1 });
        self.cancelled.fetch_add(1, Ordering::Relaxed);
        self.complete();
    }

    fn complete(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        if self.state.complete().joiner {
            // SAFETY: the state gave us the place.
            assert_eq!(self.joiner.with_mut(|joiner| unsafe { (*joiner).take() }), Some(7));
            self.told.fetch_add(1, Ordering::Relaxed);
        }
        self.release();
    }

    fn drop_handle(&self) {
        match self.state.drop_handle() {
            // SAFETY: it is over, and the result was for the handle.
            DropHandle::DropResult => self.stage.with_mut(|stage| unsafe { *stage += 1 }),
            // SAFETY: the place is the handle's.
            DropHandle::DropJoiner => self.joiner.with_mut(|place| unsafe { *place = None }),
        }
        self.release();
    }

    fn ends(&self) -> [usize; 3] {
        [&self.ended, &self.cancelled, &self.freed].map(|count| count.load(Ordering::Relaxed))
    }
}

/// F1: two wakers against the first polls. Whatever is merged with whatever, a poll has seen both facts.
#[test]
fn every_wake_is_followed_by_a_poll() {
    model("every_wake_is_followed_by_a_poll", 3, || {
        let world = World::new(2);
        let wakers = [0, 1].map(|fact| {
            let world = world.clone();
            thread::spawn(move || world.state_fact(fact))
        });
        world.carry();
        let before = world.ended.load(Ordering::Relaxed);
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
        // What the polls above have not seen, one that is queued will see: if none is, all was seen.
        if world.queue.load(Ordering::Relaxed) == 0 {
            assert_eq!((before, world.ended.load(Ordering::Relaxed)), (1, 1), "a wake was lost");
        }
        world.carry();
        world.drop_handle();
        assert_eq!(world.ends(), [1, 0, 1]);
    });
}

/// F2: the last two who could wake it, the handle and a waker, go away during its poll.
#[test]
fn one_that_nobody_can_wake_is_cancelled_once() {
    model("one_that_nobody_can_wake_is_cancelled_once", 3, || {
        let world = World::new(3);
        world.state.retain();
        let waker = {
            let world = world.clone();
            thread::spawn(move || world.release())
        };
        let carrier = {
            let world = world.clone();
            thread::spawn(move || world.carry())
        };
        world.drop_handle();
        waker.join().unwrap();
        carrier.join().unwrap();
        world.carry();
        assert_eq!(world.ends(), [1, 1, 1]);
    });
}

/// F3: an abort against a wake and a poll.
#[test]
fn an_abort_ends_it() {
    model("an_abort_ends_it", 3, || {
        let world = World::new(3);
        world.state.retain();
        let waker = {
            let world = world.clone();
            thread::spawn(move || {
                world.state_fact(0);
                world.release();
            })
        };
        let carrier = {
            let world = world.clone();
            thread::spawn(move || world.carry())
        };
        world.queue(world.state.abort());
        waker.join().unwrap();
        carrier.join().unwrap();
        world.carry();
        assert_eq!(world.ends(), [1, 1, 0]);
        world.drop_handle();
        assert_eq!(world.ends(), [1, 1, 1]);
    });
}

/// F4: the handle announces a joiner, takes it back, announces another and goes, while the future ends.
#[test]
fn a_joiner_is_told_or_sees_the_end() {
    model("a_joiner_is_told_or_sees_the_end", 3, || {
        let world = World::new(0);
        let carrier = {
            let world = world.clone();
            thread::spawn(move || world.carry())
        };
        let announce = || {
            // SAFETY: not announced: the place is the handle's.
            world.joiner.with_mut(|joiner| unsafe { *joiner = Some(7) });
            world.state.set_joiner()
        };
        let told = match announce() {
            Join::Done => false,
            Join::Pending => match world.state.clear_joiner() {
                Join::Done => true,
                Join::Pending => announce() == Join::Pending,
            },
        };
        if !told {
            // SAFETY: it is over, and the result is the handle's.
            world.stage.with(|stage| assert_eq!(unsafe { *stage }, 1, "the poll is not seen"));
        }
        carrier.join().unwrap();
        assert_eq!(world.told.load(Ordering::Relaxed), usize::from(told));
        world.drop_handle();
        assert_eq!(world.ends(), [1, 0, 1]);
    });
}

fn work(item: &UnsafeCell<usize>) {
    // SAFETY: whoever has the box has its content; loom says if that is not so.
    item.with_mut(|n| unsafe { *n += 1 });
}

/// F5: a carrier comes to rest, is taken, and rests again, while the berth is closed.
#[test]
fn who_rests_is_taken_once() {
    model("who_rests_is_taken_once", 3, || {
        let berth = Arc::new(Berth::<Box<UnsafeCell<usize>>>::new());
        let closer = {
            let berth = berth.clone();
            thread::spawn(move || {
                let dismissed = berth.close();
                dismissed.iter().for_each(|item| work(item));
                dismissed
            })
        };
        let mut at_hand = Some(Box::new(UnsafeCell::new(0)));
        for _ in 0..2 {
            if let Some(item) = at_hand.take() {
                work(&item);
                at_hand = match berth.rest(item) {
                    Ok(()) => berth.take(),
                    Err(item) => Some(item),
                };
            }
        }
        at_hand.iter().for_each(|item| work(item));
        let dismissed = closer.join().unwrap();
        assert_eq!(usize::from(at_hand.is_some()) + usize::from(dismissed.is_some()), 1);
        assert!(berth.rest(Box::new(UnsafeCell::new(9))).is_err(), "it is closed");
    });
}
