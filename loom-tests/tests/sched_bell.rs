//! The bell: a monitor never sleeps for ever beside a P that is not idle.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
use sched_core::bell::Bell;
use sched_core::idle::{Idle, Release};

const PROCS: usize = 2;

struct World {
    bell: Bell,
    idle: Idle,
}

impl World {
    /// Every P is idle.
    fn new() -> Arc<Self> {
        let world = World { bell: Bell::new(), idle: Idle::new(PROCS, 2) };
        for proc in 0..PROCS {
            assert_eq!(world.idle.release(proc, None, || false), Release::Idle);
        }
        Arc::new(world)
    }

    /// Somebody takes a P, and blocks with it in the kernel: nobody else will wake the monitor.
    fn take(&self) {
        self.idle.take_proc().expect("one is idle for each taker");
        self.bell.ring();
    }

    fn watch(&self) {
        self.bell.wait(None, || self.idle.idle_procs() == PROCS);
    }
}

fn takers(world: &Arc<World>, count: usize) -> Vec<thread::JoinHandle<()>> {
    (0..count)
        .map(|_| {
            let world = world.clone();
            thread::spawn(move || world.take())
        })
        .collect()
}

/// The P is taken before, while, or after the monitor goes to sleep. A monitor that is left asleep
/// is a deadlock to loom.
#[test]
fn a_taken_proc_wakes_the_monitor() {
    model("a_taken_proc_wakes_the_monitor", 3, || {
        let world = World::new();
        let takers = takers(&world, 1);
        world.watch();
        takers.into_iter().for_each(|taker| taker.join().unwrap());
    });
}

/// Two are taken, and the monitor goes to sleep twice: the second wait, at the latest when all is
/// taken, must not last.
#[test]
fn a_second_wait_ends_too() {
    model("a_second_wait_ends_too", 2, || {
        let world = World::new();
        let takers = takers(&world, 2);
        world.watch();
        world.watch();
        takers.into_iter().for_each(|taker| taker.join().unwrap());
    });
}
