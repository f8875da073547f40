//! Two threads that run one goroutine in turns, and a third that interrupts whoever runs it.
//!
//! A preempted goroutine may hold any lock of libc's, malloc's above all. So once it runs, these
//! threads do nothing but spin, switch and send signals: they wait for nobody but each other.

use std::hint;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread;

use sched_core::context::ThreadId;
use sched_core::preempt::{AltStack, MThread};

use crate::driver::{Driver, Task};

const RUNNERS: usize = 2;

struct Relay {
    ready: AtomicUsize,
    turn: AtomicUsize,
    steps: AtomicU32,
    over: AtomicBool,
}

/// Runs `task` to its end, and interrupts it until it has had `turns` turns; calls `after` with
/// their number after each. Returns that number.
pub(crate) fn run(driver: &Driver, task: &mut Task, turns: u32, after: impl Fn(u32) + Sync) -> u32 {
    let relay = Relay {
        ready: AtomicUsize::new(0),
        turn: AtomicUsize::new(0),
        steps: AtomicU32::new(0),
        over: AtomicBool::new(false),
    };
    let thread = task.thread();
    let task = Mutex::new(task);
    thread::scope(|scope| {
        for own in 0..RUNNERS {
            let (relay, task, after) = (&relay, &task, &after);
            scope.spawn(move || {
                let _alt_stack = AltStack::install().expect("memory for a stack");
                let worker = driver.worker();
                scope.spawn(move || relay.interrupt(turns, &worker, thread.unwrap_or(worker.id())));
                relay.take_turns(own, driver, task, after);
            });
        }
    });
    relay.steps.load(Ordering::Relaxed)
}

impl Relay {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    fn take_turns(
        &self,
        own: usize,
        driver: &Driver,
        task: &Mutex<&mut Task>,
        after: &impl Fn(u32),
    ) {
        self.wait_for_all();
        while !self.is_over() {
            if self.turn.load(Ordering::Acquire) != own {
                thread::yield_now();
                continue;
            }
            // Again: the turn may have come from whoever saw the end.
            if self.is_over() {
                return;
            }
            let ended = driver.resume(&mut task.lock().expect("nobody panics with it"));
            if ended {
                self.over.store(true, Ordering::Release);
            } else {
                after(self.steps.fetch_add(1, Ordering::Relaxed) + 1);
            }
            self.turn.store((own + 1) % RUNNERS, Ordering::Release);
        }
    }

    /// With a pause between two signals: a goroutine that is preempted each time it gets a core
    /// does not come to its end.
    fn interrupt(&self, turns: u32, worker: &MThread, target: ThreadId) {
        self.wait_for_all();
        while !self.is_over() && self.steps.load(Ordering::Relaxed) < turns {
            (0..1000).for_each(|_| hint::spin_loop());
            thread::yield_now();
            // False if the thread has just ended, with its goroutine.
            worker.interrupt(target);
        }
    }

    /// Until all have started: starting needs malloc.
    fn wait_for_all(&self) {
        self.ready.fetch_add(1, Ordering::AcqRel);
        while self.ready.load(Ordering::Acquire) < 2 * RUNNERS {
            thread::yield_now();
        }
    }
}
