//! Nothing happens any more: that is said when it is so, and not before; and a monitor that sleeps until
//! something happens has seen all that did. Who has asked in vain hears of what may change the answer.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use loom_tests::model;
use sched_core::idle::{Idle, Release};
use sched_core::lull::{self, Looked, Lull, Switches};
use sched_core::parker::Parker;
use sched_core::sleeper::Sleeper;
use sched_core::task::state::{BeginPark, CommitPark, Phase, State, Unpark};
use sched_core::vigil::{Vigil, Vigils};

/// One P, one M, a goroutine that is parked, and two plain threads.
struct World {
    idle: Idle,
    switches: Switches,
    /// The M runs the goroutine.
    runs: AtomicBool,
    goroutine: State,
    /// The M's sleep.
    machine: Parker,
    /// The plain threads', in the order in which they are looked at.
    threads: [Sleeper; 2],
    /// Somebody has done the last thing that was to be done.
    over: AtomicBool,
    /// The question has been put.
    quit: AtomicBool,
}

impl World {
    fn new() -> Arc<Self> {
        let idle = Idle::new(1, 1);
        assert_eq!(idle.release(0, None, || false), Release::Idle);
        let goroutine = State::new();
        goroutine.resume();
        assert_eq!(goroutine.begin_park(), BeginPark::Park);
        assert_eq!(goroutine.commit_park(), CommitPark::Parked);
        Arc::new(World {
            idle,
            switches: Switches::new(),
            runs: AtomicBool::new(false),
            goroutine,
            machine: Parker::new(),
            threads: [Sleeper::new(), Sleeper::new()],
            over: AtomicBool::new(false),
            quit: AtomicBool::new(false),
        })
    }

    /// A plain thread wakes the goroutine: an M is to run it on the idle P.
    fn wake_goroutine(&self) {
        assert_eq!(self.goroutine.unpark(), Unpark::Schedule);
        self.idle.take_proc().expect("nobody has it");
        self.idle.bell().ring();
        self.machine.unpark();
    }

    /// The M: runs the goroutine once, which does something and parks again; then gives its P up.
    fn machine(&self, goroutine: impl FnOnce()) {
        self.machine.park();
        self.switches.bump();
        self.runs.store(true, Ordering::Release);
        self.goroutine.resume();
        goroutine();
        assert_eq!(self.goroutine.begin_park(), BeginPark::Park);
        self.switches.bump();
        self.runs.store(false, Ordering::Release);
        assert_eq!(self.goroutine.commit_park(), CommitPark::Parked);
        assert_eq!(self.idle.release(0, None, || false), Release::Idle);
    }

    /// The last deed of all.
    fn finish(&self) {
        // Relaxed: the sleep that follows publishes it.
        self.over.store(true, Ordering::Relaxed);
    }

    /// Asks while things happen.
    fn ask(&self) {
        if lull::verdict(self).is_some() {
            // Relaxed: that is what the verdict has to order.
            assert!(self.over.load(Ordering::Relaxed), "something was to be done");
        }
        self.quit.store(true, Ordering::Release);
        self.threads.iter().for_each(Sleeper::unpark);
    }

    /// A thread waits until another one wakes it, or the model ends.
    fn sleep(&self, thread: usize) {
        if !self.quit.load(Ordering::Acquire) {
            self.threads[thread].park();
        }
    }

    /// The last sleep of a thread, which only the end of the model ends.
    fn sleep_for_ever(&self, thread: usize) {
        while !self.quit.load(Ordering::Acquire) {
            self.threads[thread].park();
        }
    }
}

impl Lull for World {
    type Sleepers = ([bool; 2], u64);
    type Waiting = ();

    /// Between one thread and the next, and for the list of goroutines, others get on: it takes long.
    fn sleepers(&self) -> ([bool; 2], u64) {
        let first = self.threads[0].sleeps_for_ever();
        if first {
            thread::yield_now();
        }
        let asleep = [first, first && self.threads[1].sleeps_for_ever()];
        (asleep, self.threads.iter().map(Sleeper::wakings).sum())
    }

    fn switches(&self) -> u64 {
        self.switches.get()
    }

    fn seems_asleep(&self) -> bool {
        self.idle.idle_procs() == 1 && !self.runs.load(Ordering::Acquire)
    }

    /// The M, and who asks, which has adopted itself; and the plain threads.
    fn knows_all_threads(&self, (asleep, _): &([bool; 2], u64)) -> bool {
        *asleep == [true, true]
    }

    fn waiting(&self) -> Option<()> {
        thread::yield_now();
        (self.goroutine.phase() == Phase::Parked).then_some(())
    }
}

/// When all sleep it is said.
#[test]
fn a_lull_without_end_is_seen() {
    model("a_lull_without_end_is_seen", 2, || {
        let world = World::new();
        let sleepers = [0, 1].map(|number| {
            let world = world.clone();
            thread::spawn(move || world.sleep_for_ever(number))
        });
        world.finish();
        while !world.threads.iter().all(Sleeper::sleeps_for_ever) {
            thread::yield_now();
        }
        assert!(lull::verdict(&*world).is_some(), "nothing will ever happen");
        world.ask();
        sleepers.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Who is seen asleep has woken all whom it was to wake, and that is in the counts.
#[test]
fn what_a_sleeper_woke_is_counted() {
    model("what_a_sleeper_woke_is_counted", 3, || {
        let threads = Arc::new([Sleeper::new(), Sleeper::new()]);
        let one = {
            let threads = threads.clone();
            thread::spawn(move || {
                threads[1].unpark();
                threads[0].park();
            })
        };
        if threads[0].sleeps_for_ever() {
            assert_eq!(threads[1].wakings(), 1, "it was woken before");
        }
        threads[0].unpark();
        one.join().unwrap();
    });
}

/// A thread wakes the other one, which wakes the goroutine, which wakes the first one again.
#[test]
fn who_was_hidden_by_a_goroutine_is_not_taken_for_asleep() {
    model("who_was_hidden_by_a_goroutine_is_not_taken_for_asleep", 2, || {
        let world = World::new();
        let [one, two] = [0, 1].map(|_| world.clone());
        let machine = {
            let world = world.clone();
            thread::spawn(move || world.machine(|| world.threads[1].unpark()))
        };
        let one = thread::spawn(move || {
            one.sleep(0);
            one.wake_goroutine();
            one.sleep_for_ever(0);
        });
        let two = thread::spawn(move || {
            two.threads[0].unpark();
            two.sleep(1);
            two.finish();
            two.sleep_for_ever(1);
        });
        world.ask();
        [machine, one, two].into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Two threads wake each other.
#[test]
fn who_was_hidden_by_a_thread_is_not_taken_for_asleep() {
    model("who_was_hidden_by_a_thread_is_not_taken_for_asleep", 2, || {
        let world = World::new();
        let [one, two] = [0, 1].map(|_| world.clone());
        let one = thread::spawn(move || {
            one.sleep(0);
            one.threads[1].unpark();
            one.sleep(0);
            one.finish();
            one.sleep_for_ever(0);
        });
        let two = thread::spawn(move || {
            two.threads[0].unpark();
            two.sleep(1);
            two.threads[0].unpark();
            two.sleep_for_ever(1);
        });
        world.ask();
        [one, two].into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// What a monitor looks at: whether somebody waits who may wait for ever.
struct Watched {
    idle: Idle,
    switches: Switches,
    looked: Looked,
    waits: AtomicBool,
    asked: AtomicUsize,
}

impl Watched {
    fn is_idle(&self) -> bool {
        self.idle.idle_procs() == 1
    }

    /// Looks until it has seen somebody wait, and sleeps without a limit if all was idle.
    fn monitor(&self) {
        loop {
            self.looked.note(self.switches.get());
            if !self.is_idle() {
                thread::yield_now();
                continue;
            }
            // Relaxed: ordered by the note, or by the idle P.
            if self.waits.load(Ordering::Relaxed) {
                self.asked.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let nothing_ran = || self.looked.is_all(|| self.is_idle(), || self.switches.get());
            self.idle.bell().wait(None, nothing_ran);
        }
    }

    /// A goroutine comes, runs, and waits for ever.
    fn live(&self) {
        self.idle.take_proc().expect("nobody has it");
        self.idle.bell().ring();
        self.switches.bump();
        // Relaxed: the switch publishes it.
        self.waits.store(true, Ordering::Relaxed);
        self.switches.bump();
        assert_eq!(self.idle.release(0, None, || false), Release::Idle);
    }
}

/// A goroutine takes the P and gives it back while the monitor is about to sleep: a monitor that sleeps
/// without having asked about it would sleep for ever, and loom says so.
#[test]
fn a_monitor_sleeps_over_nobody_who_waits() {
    model("a_monitor_sleeps_over_nobody_who_waits", 3, || {
        let idle = Idle::new(1, 1);
        assert_eq!(idle.release(0, None, || false), Release::Idle);
        let watched = Arc::new(Watched {
            idle,
            switches: Switches::new(),
            looked: Looked::new(),
            waits: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        });
        let monitor = {
            let watched = watched.clone();
            thread::spawn(move || watched.monitor())
        };
        watched.live();
        monitor.join().unwrap();
        assert_eq!(watched.asked.load(Ordering::Relaxed), 1);
    });
}

/// A thread falls asleep while a watcher asks whether it does: the watcher sees it, or is told.
#[test]
fn who_falls_asleep_unseen_tells_the_watcher() {
    model("who_falls_asleep_unseen_tells_the_watcher", 3, || {
        let all = Arc::new((Vigils::new(), Vigil::new(), Sleeper::new()));
        let thread = {
            let all = all.clone();
            thread::spawn(move || {
                let (vigils, vigil, sleeper) = &*all;
                sleeper.park_and(|| {
                    if vigils.any() {
                        vigils.end(vigil);
                    }
                });
            })
        };
        let (vigils, vigil, sleeper) = &*all;
        vigils.begin(vigil);
        let seen = sleeper.sleeps_for_ever();
        while !sleeper.sleeps_for_ever() {
            thread::yield_now();
        }
        sleeper.unpark();
        thread.join().unwrap();
        assert!(seen || !vigil.is_kept(), "it fell asleep, and nobody knows");
    });
}
