//! Park and ready: a goroutine made ready runs once, after its context was saved (S9), and a poll that parks
//! keeps its carrier; an M's sleep keeps its permit (S11); a dump reads stacks that stand still.
#![cfg(loom)]

use core::cell::Cell;
use core::ptr::NonNull;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use loom_tests::model;
use sched_core::commit::{self, Commit, Role};
use sched_core::future::berth::Berth;
use sched_core::orders::Order;
use sched_core::parker::Parker;
use sched_core::policy::Cause;
use sched_core::queue::Handle;
use sched_core::summons::Summons;
use sched_core::task::state::{BeginPark, CommitPark, State, Unpark};

/// A goroutine that parks until it was served `wanted` times.
struct Goroutine {
    state: State,
    /// Its saved registers: written by the M it leaves, read by the M that resumes it.
    context: UnsafeCell<usize>,
    served: AtomicUsize,
    wanted: usize,
    /// It gave way, and another M may run it.
    queued: AtomicBool,
    finished: AtomicUsize,
}

// SAFETY: who may touch the context is what the models check.
unsafe impl Sync for Goroutine {}

/// Why a goroutine left its M.
#[derive(PartialEq)]
enum Exit {
    Parking,
    Finished,
}

/// An M, which switches to no goroutine but one that it has to queue.
#[derive(Default)]
struct Machine<'a> {
    pending: Cell<Option<Commit<&'a Goroutine>>>,
    queue: Cell<Option<&'a Goroutine>>,
    /// Of its P.
    berth: Berth<&'a Goroutine>,
}

// SAFETY: the reference is the handle.
unsafe impl Handle for &Goroutine {
    type Target = Goroutine;

    fn into_raw(self) -> NonNull<Goroutine> {
        NonNull::from(self)
    }

    unsafe fn from_raw(raw: NonNull<Goroutine>) -> Self {
        // SAFETY: it comes from a reference that outlives the berth.
        unsafe { raw.as_ref() }
    }
}

impl<'a> Machine<'a> {
    /// Leaves `goroutine`, whose context is saved by the switch.
    fn leave(&self, goroutine: &'a Goroutine, commit: Commit<&'a Goroutine>) {
        self.pending.set(Some(commit));
        commit::switch(|| goroutine.use_context(), || self);
    }
}

impl<'a> Role for Machine<'a> {
    type Run = &'a Goroutine;

    fn state<'r>(run: &'r &'a Goroutine) -> &'r State {
        &run.state
    }

    fn owed(&self) -> Option<Commit<&'a Goroutine>> {
        self.pending.take()
    }

    fn put_woken(&self, run: &'a Goroutine) {
        self.queue.set(Some(run));
    }

    fn put_back(&self, run: &'a Goroutine, _: Cause) {
        // Relaxed: what is published is so by the state.
        run.queued.store(true, Ordering::Relaxed);
    }

    fn put_preempted(&self, _: &'a Goroutine) {
        unreachable!("nobody asks");
    }

    fn berth(&self, run: &'a Goroutine) {
        if self.berth.rest(run).is_err() {
            run.end_as_carrier();
        }
    }

    fn bury(&self, _: &'a Goroutine) {
        unreachable!("it has no stack");
    }
}

impl Goroutine {
    fn new(wanted: usize) -> Arc<Self> {
        Arc::new(Self {
            state: State::new(),
            context: UnsafeCell::new(0),
            served: AtomicUsize::new(0),
            wanted,
            queued: AtomicBool::new(false),
            finished: AtomicUsize::new(0),
        })
    }

    /// Runs it on this thread, as an M that took it from a queue, until it parks or ends.
    fn run(&self) {
        let m = Machine::default();
        m.queue.set(Some(self));
        while let Some(goroutine) = m.queue.take() {
            goroutine.state.resume();
            goroutine.use_context();
            match goroutine.body() {
                Exit::Parking => m.leave(goroutine, Commit::Park(goroutine)),
                Exit::Finished => {
                    goroutine.finished.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn body(&self) -> Exit {
        while self.served.load(Ordering::Acquire) < self.wanted {
            if self.state.begin_park() == BeginPark::Park {
                return Exit::Parking;
            }
        }
        Exit::Finished
    }

    /// Saves or loads it.
    fn use_context(&self) {
        // SAFETY: loom checks that no other M uses the context; that is the promise.
        self.context.with_mut(|context| unsafe { *context += 1 });
    }

    /// Serves it once and makes it ready, running it here if it has to be queued.
    fn serve(&self) {
        self.served.fetch_add(1, Ordering::AcqRel);
        if self.state.unpark() == Unpark::Schedule {
            self.run();
        }
    }
}

/// A goroutine as a carrier: its body is a poll, after which it rests or ends.
impl Goroutine {
    fn carry<'a>(&'a self, m: &Machine<'a>) {
        self.state.resume();
        self.use_context();
        match self.body() {
            Exit::Parking => m.leave(self, Commit::Park(self)),
            Exit::Finished => m.leave(self, Commit::Rest(self)),
        }
    }

    fn end_as_carrier(&self) {
        // SAFETY: whoever ends a carrier has it alone; loom checks it.
        self.context.with_mut(|context| unsafe { *context += 100 });
    }

    /// All threads are joined: how often it has ended.
    fn ends(&self) -> usize {
        // SAFETY: nobody else is there.
        self.context.with(|context| unsafe { *context }) / 100
    }
}

/// A poll parks, and its carrier with it: the next future gets another carrier, and the first goes on with its poll
/// where it is woken. At the end each carrier has been in one hand.
#[test]
fn a_poll_that_parks_keeps_its_carrier() {
    model("a_poll_that_parks_keeps_its_carrier", 3, || {
        let (first, second) = (Goroutine::new(1), Goroutine::new(0));
        let waker = {
            let first = first.clone();
            thread::spawn(move || {
                let m = Machine::default();
                first.served.fetch_add(1, Ordering::AcqRel);
                if first.state.unpark() == Unpark::Schedule {
                    first.carry(&m);
                }
                m.berth.close().into_iter().for_each(Goroutine::end_as_carrier);
            })
        };
        let m = Machine::default();
        first.carry(&m);
        // The next future is polled by whoever rests here, else by a new carrier.
        m.berth.take().unwrap_or(&second).carry(&m);
        while let Some(woken) = m.queue.take() {
            woken.carry(&m);
        }
        m.berth.close().into_iter().for_each(Goroutine::end_as_carrier);
        waker.join().unwrap();
        assert!(first.ends() == 1 && second.ends() <= 1, "each carrier ends once");
    });
}

/// One who looks at it for a dump.
fn look(goroutine: &Goroutine) {
    if goroutine.state.claim() {
        goroutine.use_context();
        if goroutine.state.commit_park() == CommitPark::Notified {
            goroutine.run();
        }
    }
}

/// A dump takes a parked goroutine for a moment: a ready that comes meanwhile is kept.
#[test]
fn a_ready_under_a_look_is_kept() {
    model("a_ready_under_a_look_is_kept", 3, || {
        let goroutine = Goroutine::new(1);
        let server = {
            let goroutine = goroutine.clone();
            thread::spawn(move || goroutine.serve())
        };
        let looker = {
            let goroutine = goroutine.clone();
            thread::spawn(move || look(&goroutine))
        };
        goroutine.run();
        server.join().unwrap();
        looker.join().unwrap();
        assert_eq!(goroutine.finished.load(Ordering::Relaxed), 1, "it ends once");
    });
}

/// A dump watches a runnable goroutine: it sees a saved context, and nobody resumes it meanwhile. One that has
/// not run yet, or stays where its registers are, is not watched.
#[test]
fn a_watched_one_stands_still() {
    model("a_watched_one_stands_still", 3, || {
        let goroutine = Goroutine::new(0);
        let looker = {
            let goroutine = goroutine.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    let watch = goroutine.state.watch();
                    if watch.is_some() {
                        goroutine.use_context();
                    }
                }
            })
        };
        // It is given its stack, runs, gives way, runs, stays in a handler, and runs.
        goroutine.use_context();
        goroutine.state.resume();
        let m = Machine::default();
        m.leave(&goroutine, Commit::Yield(&goroutine));
        goroutine.state.resume();
        goroutine.state.commit_stay();
        goroutine.use_context();
        goroutine.state.resume();
        looker.join().unwrap();
    });
}

/// S9: one that gives way is resumed by another M as soon as it is queued.
#[test]
fn who_gives_way_is_saved_first() {
    model("who_gives_way_is_saved_first", 3, || {
        let goroutine = Goroutine::new(0);
        goroutine.state.resume();
        let other = {
            let goroutine = goroutine.clone();
            thread::spawn(move || {
                // Relaxed: as in `put_back`.
                if goroutine.queued.swap(false, Ordering::Relaxed) {
                    goroutine.run();
                }
            })
        };
        Machine::default().leave(&goroutine, Commit::Yield(&goroutine));
        other.join().unwrap();
    });
}

/// S9: one that serves and one that parks.
#[test]
fn a_ready_before_the_commit_is_kept() {
    model("a_ready_before_the_commit_is_kept", 3, || {
        let goroutine = Goroutine::new(1);
        let server = {
            let goroutine = goroutine.clone();
            thread::spawn(move || goroutine.serve())
        };
        goroutine.run();
        server.join().unwrap();
        assert_eq!(goroutine.finished.load(Ordering::Relaxed), 1, "it ends once");
    });
}

/// S9: two that serve, each of which may find it running, parking, parked, or made ready already.
#[test]
fn two_readies_make_it_run_on_one_machine_at_a_time() {
    model("two_readies_make_it_run_on_one_machine_at_a_time", 2, || {
        let goroutine = Goroutine::new(2);
        let servers: Vec<_> = (0..2)
            .map(|_| {
                let goroutine = goroutine.clone();
                thread::spawn(move || goroutine.serve())
            })
            .collect();
        goroutine.run();
        servers.into_iter().for_each(|server| server.join().unwrap());
        assert_eq!(goroutine.finished.load(Ordering::Relaxed), 1, "it ends once");
    });
}

/// S11: two wakes, of which the first may come before the sleep, and the second during it.
#[test]
fn a_wake_before_the_sleep_counts() {
    model("a_wake_before_the_sleep_counts", 3, || {
        let parker = Arc::new(Parker::new());
        let order = Arc::new(UnsafeCell::new(0));
        let waker = {
            let (parker, order) = (parker.clone(), order.clone());
            thread::spawn(move || {
                // SAFETY: the sleeper reads it after it was woken; loom checks it.
                order.with_mut(|order| unsafe { *order = 1 });
                parker.unpark();
            })
        };
        parker.park();
        // SAFETY: as above.
        assert_eq!(order.with(|order| unsafe { *order }), 1, "what it is to do is visible");
        waker.join().unwrap();
        parker.unpark();
        parker.park();
    });
}

/// S11: an M that is roused beside an order carries the order out, once, and is not woken a third time.
#[test]
fn an_order_is_carried_out_whoever_else_rouses() {
    model("an_order_is_carried_out_whoever_else_rouses", 3, || {
        let summons = Arc::new(Summons::new());
        let given = {
            let summons = summons.clone();
            thread::spawn(move || summons.give(Order { proc: 1, spinning: None }))
        };
        let roused = {
            let summons = summons.clone();
            thread::spawn(move || summons.rouse())
        };
        let mut sleeps = 1;
        let order = loop {
            match summons.sleep() {
                Some(order) => break order,
                None => sleeps += 1,
            }
        };
        assert_eq!(order, Order { proc: 1, spinning: None });
        assert!(sleeps <= 2, "it was woken without a reason");
        given.join().unwrap();
        roused.join().unwrap();
    });
}
