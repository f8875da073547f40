//! Every policy runs everything: trees, pairs, sleepers, hogs, loads from outside; nothing is lost and
//! nothing runs twice.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use common::{MODES, Watch, with};
use sched_core::{
    Config, Scheduler, Spawn, current,
    park::{self, WaitReason},
    policy::{
        Cause, Chosen, Class, GlobalFifo, Gmp, Item, Moment, Policy, Priority, Queues, Ready, Seat,
        Slice, WorkSteal,
    },
    spawn, yield_now,
};

#[path = "../examples/own_policy.rs"]
mod own_policy;

fn policies() -> [Chosen; 5] {
    [
        Chosen::new(Gmp),
        Chosen::new(GlobalFifo),
        Chosen::new(WorkSteal),
        Chosen::new(Priority::new()),
        Chosen::new(own_policy::Lottery { tickets: [8, 4, 2, 1] }),
    ]
}

/// Runs `body` under each policy, in each mode, on `procs` Ps.
fn under_each(procs: usize, body: impl Fn(&Scheduler)) {
    for policy in policies() {
        for thread_mode in MODES {
            let scheduler =
                with(Config { procs, thread_mode, policy: policy.clone(), ..Config::default() });
            body(&scheduler);
            assert_eq!(scheduler.shutdown(None).left, [], "{policy:?}");
        }
    }
}

fn tree(depth: u32) -> usize {
    if depth == 0 {
        return 1;
    }
    let scheduler = current().expect("on a goroutine");
    let class = Class::ALL[depth as usize % Class::ALL.len()];
    let left = scheduler
        .spawn_with(Spawn::new().class(class), move || tree(depth - 1))
        .expect("it is open");
    let right = spawn(move || tree(depth - 1)).expect("on a goroutine").expect("it is open");
    1 + left.join().expect("no panic") + right.join().expect("no panic")
}

#[test]
fn a_tree_is_counted_once() {
    under_each(3, |scheduler| {
        let nodes = scheduler.spawn(|| tree(8)).expect("it is open").join().expect("no panic");
        assert_eq!(nodes, 511);
    });
}

#[test]
fn each_of_many_runs_once_and_those_that_yield_go_on() {
    under_each(2, |scheduler| {
        let runs: Arc<[AtomicUsize]> = (0..1_000).map(|_| AtomicUsize::new(0)).collect();
        let own = Arc::clone(&runs);
        let spawner = scheduler.spawn(move || {
            let jobs: Vec<_> = (0..own.len())
                .map(|n| {
                    let runs = Arc::clone(&own);
                    let job = move || {
                        yield_now();
                        runs[n].fetch_add(1, Ordering::Relaxed);
                    };
                    spawn(job).expect("on a goroutine").expect("it is open")
                })
                .collect();
            jobs.into_iter().for_each(|job| job.join().expect("no panic"));
        });
        spawner.expect("it is open").join().expect("no panic");
        assert!(runs.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    });
}

#[test]
fn sleepers_and_outsiders_are_found() {
    under_each(2, |scheduler| {
        let sleepers: Vec<_> = (0..20)
            .map(|n| {
                let sleep = move || {
                    let until = Instant::now() + Duration::from_millis(n % 5);
                    park::park_until(WaitReason::Sleep, until)
                };
                scheduler.spawn(sleep).expect("it is open")
            })
            .collect();
        for sleeper in sleepers {
            assert_eq!(sleeper.join().expect("no panic"), park::Woken::Timeout);
        }
    });
}

/// One P, a hog that never calls, and one that waits its turn: its end is what ends the test.
#[test]
fn a_hog_does_not_keep_others_waiting_for_ever() {
    under_each(1, |scheduler| {
        let watch = Watch::start(scheduler, Duration::from_millis(2));
        let over = Arc::new(AtomicBool::new(false));
        let hog = {
            let over = Arc::clone(&over);
            scheduler.spawn_with(Spawn::new().class(Class::Urgent), move || {
                while !over.load(Ordering::Relaxed) {}
            })
        };
        let other = scheduler.spawn_with(Spawn::new().class(Class::Background), move || {
            over.store(true, Ordering::Relaxed);
        });
        other.expect("it is open").join().expect("no panic");
        hog.expect("it is open").join().expect("no panic");
        watch.stop();
    });
}

/// Two that wake each other all the time, and one that waits behind them on the only P.
#[test]
fn a_pair_does_not_starve_a_third() {
    under_each(1, |scheduler| {
        let watch = Watch::start(scheduler, Duration::from_millis(1));
        let over = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&over);
        let pair = scheduler.spawn(move || {
            let (first, seen) = (park::current(), Arc::clone(&done));
            let second = spawn(move || {
                while !seen.load(Ordering::Relaxed) {
                    first.unpark();
                    yield_now();
                }
                first.unpark();
            });
            while !done.load(Ordering::Relaxed) {
                park::park(WaitReason::Park);
            }
            second.expect("on a goroutine").expect("it is open").join().expect("no panic");
        });
        let third = scheduler.spawn_with(Spawn::new().class(Class::Background), move || {
            over.store(true, Ordering::Relaxed);
        });
        third.expect("it is open").join().expect("no panic");
        pair.expect("it is open").join().expect("no panic");
        watch.stop();
    });
}

/// Has so many goroutines at once, and leaves their stacks on the P's shelf: who must wait for a stack loses its
/// place.
fn stacks_for(count: usize) {
    let begun = Arc::new(AtomicUsize::new(0));
    let all: Vec<_> = (0..count)
        .map(|_| {
            let begun = Arc::clone(&begun);
            let meet = move || {
                begun.fetch_add(1, Ordering::Relaxed);
                while begun.load(Ordering::Relaxed) < count {
                    yield_now();
                }
            };
            spawn(meet).expect("on a goroutine").expect("it is open")
        })
        .collect();
    all.into_iter().for_each(|one| one.join().expect("no panic"));
}

/// On one P the classes' order can be seen: all are ready before the first of them runs, and their allowances lie
/// so far apart that it does not matter when each became so.
#[test]
fn urgent_ones_go_first_under_priority() {
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let policy = Priority::new()
        .allow(Class::High, hours(1))
        .allow(Class::Normal, hours(2))
        .allow(Class::Background, hours(3));
    let policy = Chosen::new(policy);
    let scheduler = with(Config { procs: 1, policy, ..Config::default() });
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ran = Arc::clone(&order);
    let spawner = scheduler.spawn(move || {
        stacks_for(4);
        let scheduler = current().expect("on a goroutine");
        let jobs: Vec<_> = [Class::Background, Class::Normal, Class::High, Class::Urgent]
            .into_iter()
            .map(|class| {
                let ran = Arc::clone(&ran);
                let job = move || ran.lock().expect("no panic").push(class);
                scheduler.spawn_with(Spawn::new().class(class), job).expect("it is open")
            })
            .collect();
        jobs.into_iter().for_each(|job| job.join().expect("no panic"));
    });
    spawner.expect("it is open").join().expect("no panic");
    assert_eq!(*order.lock().expect("no panic"), Class::ALL);
    assert_eq!(scheduler.shutdown(None).left, []);
}

#[test]
fn the_example_runs() {
    own_policy::main();
}

/// First come, first served; and it notes what it is told of goroutines that are asked to give way.
#[derive(Clone, Debug, Default)]
struct Witness(Arc<Told>);

#[derive(Debug, Default)]
struct Told {
    /// That one may be expected.
    expected: AtomicUsize,
    /// Picks behind that.
    picked: AtomicUsize,
    /// Goroutines that gave way and were queued.
    preempted: AtomicUsize,
    /// Of those, who came before anything was said.
    unexpected: AtomicUsize,
}

struct Witnessed<H: Item> {
    inner: <GlobalFifo as Policy>::Queues<H>,
    told: Arc<Told>,
}

impl Policy for Witness {
    type Queues<H: Item> = Witnessed<H>;

    fn queues<H: Item>(&self) -> Witnessed<H> {
        Witnessed { inner: GlobalFifo.queues(), told: Arc::clone(&self.0) }
    }
}

impl<H: Item> Queues<H> for Witnessed<H> {
    /// An urgent one is expected.
    type Local = AtomicBool;

    fn local(&self) -> AtomicBool {
        AtomicBool::new(false)
    }

    fn put(&self, _: Option<Seat<'_, AtomicBool>>, moment: &Moment, item: H, ready: Ready) {
        if ready.cause == Cause::Preempted {
            let before = self.told.preempted.fetch_add(1, Ordering::Relaxed);
            if self.told.expected.load(Ordering::Relaxed) <= before {
                self.told.unexpected.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.inner.put(None, moment, item, ready);
    }

    fn pick(&self, seat: Seat<'_, AtomicBool>, moment: &Moment) -> Option<(H, Slice)> {
        if seat.local().swap(false, Ordering::Relaxed) {
            self.told.picked.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller holds the P.
        self.inner.pick(unsafe { Seat::new(&()) }, moment)
    }

    fn steal<'a>(
        &self,
        _: Seat<'_, AtomicBool>,
        _: &Moment,
        _: impl Iterator<Item = &'a AtomicBool>,
        _: bool,
    ) -> Option<H> {
        None
    }

    fn evict(&self, _: Seat<'_, AtomicBool>) -> Option<H> {
        None
    }

    fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    fn is_local_empty(_: &AtomicBool) -> bool {
        true
    }

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn local_len(_: &AtomicBool) -> usize {
        0
    }

    fn expect_urgent(&self, seat: Seat<'_, AtomicBool>) {
        seat.local().store(true, Ordering::Relaxed);
        self.told.expected.fetch_add(1, Ordering::Relaxed);
    }
}

/// Two hogs take turns on one P. The switch from one to the other looks for the next before it queues the last.
#[test]
fn a_policy_is_told_before_the_pick_whom_a_preempted_one_makes_room_for() {
    for thread_mode in MODES {
        let witness = Witness::default();
        let policy = Chosen::new(witness.clone());
        let scheduler = with(Config { procs: 1, thread_mode, policy, ..Config::default() });
        let watch = Watch::start(&scheduler, Duration::from_millis(2));
        let told = witness.0;
        let hogs = [(); 2].map(|()| {
            let told = Arc::clone(&told);
            let hog = move || while told.preempted.load(Ordering::Relaxed) < 4 {};
            scheduler.spawn(hog).expect("it is open")
        });
        hogs.into_iter().for_each(|hog| hog.join().expect("no panic"));
        watch.stop();
        assert_eq!(scheduler.shutdown(None).left, []);
        assert_eq!(told.unexpected.load(Ordering::Relaxed), 0, "{told:?}");
        assert!(told.picked.load(Ordering::Relaxed) >= 4, "{told:?}");
    }
}
