//! The turnstile: somebody sees to the end when nobody is inside any more, and nobody before (E1); a
//! closer that waits is told (E2); closers that are inside wait for all but each other (E3).
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use loom_tests::model;
use sched_core::closers::Closer;
use sched_core::parker::Parker;
use sched_core::turnstile::{Left, Turnstile};

struct World {
    turnstile: Turnstile<Arc<Parker>>,
    /// Who is inside writes it; who sees to the end reads it, and loom checks that it is alone.
    deeds: UnsafeCell<usize>,
    ends: AtomicUsize,
}

// SAFETY: a model; loom itself checks the accesses of the cell.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new(inside: usize) -> Arc<Self> {
        let turnstile = Turnstile::new();
        turnstile.hold();
        (0..inside).for_each(|_| assert!(turnstile.enter()));
        Arc::new(World { turnstile, deeds: UnsafeCell::new(0), ends: AtomicUsize::new(0) })
    }

    /// A goroutine that is inside does something and ends.
    fn live(&self) {
        // SAFETY: in each model one thread at a time is to be here.
        self.deeds.with_mut(|deeds| unsafe { *deeds += 1 });
        self.see_to(self.turnstile.leave());
    }

    /// One that serves a goroutine comes and goes, if it may.
    fn serve(&self) {
        if self.turnstile.enter_to_serve() {
            assert_eq!(self.ends.load(Ordering::Relaxed), 0, "it comes after the end");
            self.see_to(self.turnstile.leave());
        }
    }

    fn see_to(&self, left: Left<Arc<Parker>>) {
        if let Left::Shut { closer, end } = left {
            closer.iter().for_each(|closer| closer.unpark());
            end.then(|| self.end());
        }
    }

    fn end(&self) {
        // SAFETY: nobody is inside: loom says if that is not so.
        self.deeds.with(|deeds| assert_eq!(unsafe { *deeds }, 1, "the deed is not seen"));
        self.ends.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for the others, as the scheduler does.
    fn close(&self, inside: bool) {
        let parker = Arc::new(Parker::new());
        let ticket = self.turnstile.expect(Closer::new(parker.clone(), inside));
        loop {
            self.turnstile.look().tell(|parker| parker.unpark());
            if !self.turnstile.waits(ticket) {
                return;
            }
            parker.park();
        }
    }

    fn drop_handle(&self) {
        if self.turnstile.abandon() {
            self.end();
        }
    }
}

/// E1: the last goroutine ends while the last handle is dropped.
#[test]
fn the_last_goroutine_and_the_last_handle() {
    model("the_last_goroutine_and_the_last_handle", 3, || {
        let world = World::new(1);
        let goroutine = {
            let world = world.clone();
            thread::spawn(move || world.live())
        };
        world.drop_handle();
        goroutine.join().unwrap();
        assert_ne!(world.ends.load(Ordering::Relaxed), 0, "nobody saw to the end");
    });
}

/// E1: the last goroutine ends, somebody wants to come in, and a servant: the newcomer is nobody who could be
/// served.
#[test]
fn a_newcomer_and_a_servant_at_the_end() {
    model("a_newcomer_and_a_servant_at_the_end", 3, || {
        let world = World::new(1);
        assert!(!world.turnstile.abandon());
        let newcomer = {
            let world = world.clone();
            thread::spawn(move || assert!(!world.turnstile.enter(), "it is shut"))
        };
        let servant = {
            let world = world.clone();
            thread::spawn(move || world.serve())
        };
        world.live();
        newcomer.join().unwrap();
        servant.join().unwrap();
        assert_eq!(world.ends.load(Ordering::Relaxed), 1);
    });
}

/// E1: whoever is let in to serve another keeps the end from coming.
#[test]
fn a_servant_comes_before_the_end_or_not_at_all() {
    model("a_servant_comes_before_the_end_or_not_at_all", 3, || {
        let world = World::new(1);
        assert!(!world.turnstile.abandon());
        let servant = {
            let world = world.clone();
            thread::spawn(move || world.serve())
        };
        world.live();
        servant.join().unwrap();
        assert_eq!(world.ends.load(Ordering::Relaxed), 1);
    });
}

/// E2: a closer waits for two, of whom either may be the last.
#[test]
fn a_closer_is_told() {
    model("a_closer_is_told", 2, || {
        let world = World::new(2);
        let leavers = [(); 2].map(|()| {
            let world = world.clone();
            thread::spawn(move || world.see_to(world.turnstile.leave()))
        });
        world.turnstile.shut();
        world.close(false);
        assert_eq!(world.turnstile.inside(), 0);
        leavers.into_iter().for_each(|leaver| leaver.join().unwrap());
    });
}

/// E2: of two closers one goes before its time, and may be the one that was told.
#[test]
fn a_closer_that_goes_looks_for_the_other() {
    model("a_closer_that_goes_looks_for_the_other", 2, || {
        let world = World::new(1);
        world.turnstile.shut();
        let impatient = {
            let world = world.clone();
            thread::spawn(move || {
                let ticket = world.turnstile.expect(Closer::new(Arc::new(Parker::new()), false));
                world.turnstile.look().tell(|parker| parker.unpark());
                world.turnstile.forget(ticket).tell(|parker| parker.unpark());
            })
        };
        let leaver = {
            let world = world.clone();
            thread::spawn(move || world.see_to(world.turnstile.leave()))
        };
        world.close(false);
        assert_eq!(world.turnstile.inside(), 0);
        impatient.join().unwrap();
        leaver.join().unwrap();
    });
}

/// E3: two goroutines close, and wait for a third.
#[test]
fn closers_inside_do_not_wait_for_each_other() {
    model("closers_inside_do_not_wait_for_each_other", 2, || {
        let world = World::new(3);
        world.turnstile.shut();
        let closer = {
            let world = world.clone();
            thread::spawn(move || {
                world.close(true);
                world.see_to(world.turnstile.leave());
            })
        };
        let goroutine = {
            let world = world.clone();
            thread::spawn(move || world.live())
        };
        world.close(true);
        // SAFETY: only closers are inside: loom says if that is not so.
        world.deeds.with(|deeds| assert_eq!(unsafe { *deeds }, 1, "the deed is not seen"));
        world.see_to(world.turnstile.leave());
        closer.join().unwrap();
        goroutine.join().unwrap();
    });
}
