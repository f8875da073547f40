//! The last spinner: no goroutine is left in a queue beside sleeping Ms (S5–S7), though a timer wakes it (S13), and
//! no P without a thread beside one that comes to rest; and a monitor that sleeps for long is told of work that nobody
//! looks for.
//!
//! Ms, Ps and queues are reduced to what the protocol of `sched_core::idle` sees of them. A queue is
//! a word with room for one goroutine; its publication is a plain Release store, the weakest that a
//! real queue has.
#![cfg(loom)]

use std::time::Duration;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use loom_tests::model;
use sched_core::driver::Driver;
use sched_core::idle::{Host, Idle, Release, Spinning, Wake};
use sched_core::orders::{Order, Place};
use sched_core::timer::{Storage, Timed};

const PROCS: usize = 2;

struct World {
    idle: Idle,
    queues: [AtomicUsize; PROCS],
    ran: AtomicUsize,
}

impl World {
    /// All Ps are held, and nobody spins.
    fn new() -> Arc<Self> {
        Arc::new(Self {
            idle: Idle::new(PROCS, 4),
            queues: [AtomicUsize::new(0), AtomicUsize::new(0)],
            ran: AtomicUsize::new(0),
        })
    }

    /// Makes a goroutine runnable; an M that is woken for it runs to its end before this returns.
    fn submit(&self, queue: usize) {
        self.queues[queue].store(1, Ordering::Release);
        self.obey(self.idle.notify());
    }

    fn obey(&self, wake: Option<Wake>) {
        if let Some(wake) = wake {
            self.machine(wake.proc, Some(wake.spinning));
        }
    }

    /// The last look: reads only.
    fn any_work(&self) -> bool {
        self.queues.iter().any(|queue| queue.load(Ordering::Acquire) != 0)
    }

    /// Looks at all queues as a thief: reads, and claims what it saw.
    fn search(&self) -> bool {
        self.queues.iter().any(|queue| {
            queue.load(Ordering::Acquire) != 0
                && queue.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }

    /// An M that holds `proc`: finds, runs, and sleeps when there is nothing.
    fn machine(&self, mut proc: usize, mut spinning: Option<Spinning>) {
        loop {
            if self.search() {
                if let Some(spinning) = spinning.take() {
                    self.obey(self.idle.found(spinning));
                }
                self.ran.fetch_add(1, Ordering::Relaxed);
            }
            match self.idle.release(proc, spinning.take(), || self.any_work()) {
                Release::Idle => return,
                Release::Search { proc: held, spinning: evidence } => {
                    (proc, spinning) = (held, Some(evidence));
                }
            }
        }
    }

    /// Everybody sleeps, but for the Ms that hold `busy` Ps and never give them up.
    fn at_rest(&self, submitted: usize, busy: usize) {
        assert_eq!(self.ran.load(Ordering::Relaxed), submitted, "a goroutine is left behind");
        let census = self.idle.census();
        assert_eq!((census.spinning, census.idle_procs), (0, PROCS - busy));
    }
}

/// S5: an M that holds P 0, and goes on, submits while the last spinner retires.
#[test]
fn the_last_spinner_sees_what_is_submitted() {
    model("the_last_spinner_sees_what_is_submitted", 3, || {
        let world = World::new();
        let spinning = world.idle.try_spin(PROCS).expect("both are busy");
        let spinner = {
            let world = world.clone();
            thread::spawn(move || world.machine(1, Some(spinning)))
        };
        world.submit(0);
        spinner.join().unwrap();
        world.at_rest(1, 1);
    });
}

/// A goroutine that sleeps until a deadline.
struct Sleeper;

impl Timed for Sleeper {
    fn set_place(&self, _: Option<usize>) {}
}

/// S13: the last goroutine that runs sets a timer, and its M becomes the last spinner. No M sleeps for a deadline: the
/// timer thread does, and submits whom it wakes.
#[test]
fn a_timer_beside_the_last_spinner_is_served() {
    model("a_timer_beside_the_last_spinner_is_served", 3, || {
        let world = World::new();
        let driver = Arc::new(Driver::new(Storage::new(1)));
        let timer_thread = {
            let (world, driver) = (world.clone(), driver.clone());
            thread::spawn(move || {
                let fire = |_| world.queues[0].store(1, Ordering::Release);
                driver.run(|| 1, fire, || world.obey(world.idle.notify()), || ());
            })
        };
        assert!(driver.add(1, Sleeper).is_ok(), "there is room");
        let spinning = world.idle.try_spin(PROCS);
        world.machine(0, spinning);
        while driver.any() {
            thread::yield_now();
        }
        driver.stop();
        timer_thread.join().unwrap();
        world.at_rest(1, 1);
    });
}

/// S5: two submitters, one of which comes from outside, and a spinner.
#[test]
fn two_submitters_and_a_spinner() {
    model("two_submitters_and_a_spinner", 2, || {
        let world = World::new();
        let spinning = world.idle.try_spin(PROCS).expect("both are busy");
        let spinner = {
            let world = world.clone();
            thread::spawn(move || world.machine(1, Some(spinning)))
        };
        let outside = {
            let world = world.clone();
            thread::spawn(move || world.submit(1))
        };
        world.submit(0);
        spinner.join().unwrap();
        outside.join().unwrap();
        world.at_rest(2, 1);
    });
}

/// S6: no P is idle when the goroutine is submitted, and one is given up at that moment by an M that
/// does not spin.
#[test]
fn a_proc_given_up_after_the_submission_is_used() {
    model("a_proc_given_up_after_the_submission_is_used", 3, || {
        let world = World::new();
        let quiet = {
            let world = world.clone();
            thread::spawn(move || world.machine(1, None))
        };
        world.submit(0);
        quiet.join().unwrap();
        world.at_rest(1, 1);
    });
}

/// S6: the same, with a second submitter that sees the first one's mark and relies on it.
#[test]
fn a_submitter_may_rely_on_need() {
    model("a_submitter_may_rely_on_need", 2, || {
        let world = World::new();
        let quiet = {
            let world = world.clone();
            thread::spawn(move || world.machine(1, None))
        };
        let outside = {
            let world = world.clone();
            thread::spawn(move || world.submit(1))
        };
        world.submit(0);
        quiet.join().unwrap();
        outside.join().unwrap();
        world.at_rest(2, 1);
    });
}

/// S7: an M that comes back from the kernel takes the idle P that a submitter was about to use.
#[test]
fn the_idle_proc_may_be_taken_by_another() {
    model("the_idle_proc_may_be_taken_by_another", 2, || {
        let world = World::new();
        assert_eq!(world.idle.release(1, None, || false), Release::Idle);
        let returning = {
            let world = world.clone();
            thread::spawn(move || {
                if let Some(proc) = world.idle.take_proc() {
                    world.machine(proc, None);
                }
            })
        };
        world.submit(0);
        returning.join().unwrap();
        world.at_rest(1, 1);
    });
}

/// S6: one P too many: the first to be released is retired, be it the submitter's only hope.
#[test]
fn a_retired_proc_leaves_need_behind() {
    model("a_retired_proc_leaves_need_behind", 2, || {
        let world = World::new();
        world.idle.retire_procs(1);
        let quiet = {
            let world = world.clone();
            thread::spawn(move || world.machine(1, None))
        };
        let outside = {
            let world = world.clone();
            thread::spawn(move || world.submit(1))
        };
        world.machine(0, None);
        quiet.join().unwrap();
        outside.join().unwrap();
        // One is idle, one is retired.
        world.at_rest(1, 1);
    });
}

/// S5: the same, when the one that is retired was looking for work; and the number of Ps changes
/// meanwhile.
#[test]
fn a_retired_spinner_looks_once_more() {
    model("a_retired_spinner_looks_once_more", 2, || {
        let world = World::new();
        let spinning = world.idle.try_spin(PROCS).expect("both are busy");
        let spinner = {
            let world = world.clone();
            thread::spawn(move || world.machine(1, Some(spinning)))
        };
        let outside = {
            let world = world.clone();
            thread::spawn(move || world.submit(1))
        };
        world.idle.retire_procs(1);
        world.machine(0, None);
        spinner.join().unwrap();
        outside.join().unwrap();
        world.at_rest(1, 1);
    });
}

impl World {
    /// The monitor: sleeps for ever, unless it is told or sees that something is queued.
    fn monitor(&self) {
        while !self.any_work() {
            self.idle.watch(Duration::from_secs(1), || self.any_work(), || false);
        }
    }
}

/// The Ps are all held by Ms that are blocked, and *need* stands: the monitor hears of what is submitted.
#[test]
fn a_watching_monitor_is_told() {
    model("a_watching_monitor_is_told", 3, || {
        let world = World::new();
        assert_eq!(world.idle.notify(), None);
        let monitor = {
            let world = world.clone();
            thread::spawn(move || world.monitor())
        };
        world.submit(0);
        monitor.join().unwrap();
    });
}

/// The same from a submitter that relied on a spinner, which then retires with the only P there was for it.
#[test]
fn a_spinner_without_a_proc_tells_the_monitor() {
    model("a_spinner_without_a_proc_tells_the_monitor", 3, || {
        let world = World::new();
        world.idle.retire_procs(1);
        let spinning = world.idle.try_spin(PROCS).expect("both are busy");
        let monitor = {
            let world = world.clone();
            thread::spawn(move || world.monitor())
        };
        let spinner = {
            let world = world.clone();
            thread::spawn(move || world.idle.release(1, Some(spinning), || world.any_work()))
        };
        world.submit(0);
        assert_eq!(spinner.join().unwrap(), Release::Idle);
        monitor.join().unwrap();
    });
}

/// S12: nobody is told that all sleep while an M is ordered and has not started.
#[test]
fn an_ordered_machine_is_not_asleep() {
    model("an_ordered_machine_is_not_asleep", 3, || {
        let world = World::new();
        world.idle.add_machine();
        assert_eq!(world.idle.release(1, None, || false), Release::Idle);
        let over = Arc::new(AtomicUsize::new(0));
        let watcher = {
            let (world, over) = (world.clone(), over.clone());
            thread::spawn(move || {
                let census = world.idle.census();
                if census.sleeping == census.machines {
                    assert_eq!(over.load(Ordering::Acquire), 1, "all asleep beside an order");
                }
            })
        };
        let wake = world.idle.notify().expect("P 1 is idle");
        assert_eq!(wake.host, Host::New, "nobody sleeps");
        assert_eq!(world.idle.rest(0), None);
        // The ordered M has started, found nothing, and goes to sleep.
        assert_eq!(world.idle.release(wake.proc, Some(wake.spinning), || false), Release::Idle);
        over.store(1, Ordering::Release);
        assert_eq!(world.idle.rest(1), None);
        watcher.join().unwrap();
        assert_eq!(world.idle.census().sleeping, world.idle.census().machines);
    });
}

/// A P that waits for a thread is run by an M that comes to rest, whichever is first: the last
/// look for a sleeper or the M's look for an order.
#[test]
fn an_order_and_a_sleeper_find_each_other() {
    model("an_order_and_a_sleeper_find_each_other", 3, || {
        let world = World::new();
        world.idle.add_machine();
        let machine = {
            let world = world.clone();
            thread::spawn(move || world.idle.rest(0))
        };
        let order = Order { proc: 1, spinning: None };
        let given = match world.idle.take_host() {
            Host::Sleeper(id) => Some((id, order)),
            Host::New => match world.idle.place(order) {
                Place::Sleeper(id, order) => Some((id, order)),
                Place::Waits => None,
            },
        };
        let found = machine.join().unwrap();
        assert!(given.is_some() != found.is_some(), "{given:?}, {found:?}");
        assert_eq!(world.idle.backlog().orders, 0);
        let census = world.idle.census();
        assert_eq!((census.sleeping, census.machines), (0, 1), "the M is at work");
    });
}

/// S7: of submitters that come at once, from outside, one at most starts a spinner, though both found that nobody spins;
/// and so does a spinner that has found work, beside them.
#[test]
fn submitters_at_once_start_one_spinner() {
    model("submitters_at_once_start_one_spinner", 3, || {
        let idle = Arc::new(Idle::new(3, 4));
        let found = idle.try_spin(3).expect("all are busy");
        assert_eq!(idle.release(1, None, || false), Release::Idle);
        assert_eq!(idle.release(2, None, || false), Release::Idle);
        let submitters = [(); 2].map(|()| {
            let idle = idle.clone();
            thread::spawn(move || idle.notify())
        });
        let followed = idle.found(found);
        let woken = submitters.map(|one| one.join().unwrap());
        let wakes: Vec<_> = woken.into_iter().chain([followed]).flatten().collect();
        // The one that was there has stopped, and looks around for others first.
        assert_eq!(wakes.len(), 1, "one wake-up at a time");
        let census = idle.census();
        assert_eq!((census.spinning, census.idle_procs), (1, 1));
    });
}
