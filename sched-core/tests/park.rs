//! Parking, from goroutines and threads, with and without deadlines.

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use common::{in_both_modes, scheduler, watched};
use sched_core::{
    Config, Hooks, Scheduler, current,
    park::{self, WaitReason, Waiter, Woken},
    yield_now,
};

/// A cell that one side fills and the other empties, each waiting for the other.
#[derive(Default)]
struct Slot {
    value: Mutex<Option<u64>>,
    waiters: Mutex<Vec<Waiter>>,
}

impl Slot {
    fn exchange<R>(&self, mut step: impl FnMut(&mut Option<u64>) -> Option<R>) -> R {
        loop {
            if let Some(result) = step(&mut self.value.lock().expect("no panic")) {
                for waiter in self.waiters.lock().expect("no panic").drain(..) {
                    waiter.unpark();
                }
                return result;
            }
            self.waiters.lock().expect("no panic").push(park::current());
            // Looked at again after the announcement, so that no wake-up is missed.
            if let Some(result) = step(&mut self.value.lock().expect("no panic")) {
                for waiter in self.waiters.lock().expect("no panic").drain(..) {
                    waiter.unpark();
                }
                return result;
            }
            park::park(WaitReason::Park);
        }
    }

    fn put(&self, value: u64) {
        self.exchange(|place| place.is_none().then(|| *place = Some(value)));
    }

    fn take(&self) -> u64 {
        self.exchange(Option::take)
    }
}

#[test]
fn goroutines_and_threads_exchange_values() {
    // Watched, as goroutines block their threads here: in the locks of the cell.
    watched(2, Duration::from_millis(10), |scheduler| {
        let rounds = if scheduler.mode().is_own_tls() { 2_000 } else { 200 };
        let slot = Arc::new(Slot::default());
        let sum = Arc::new(AtomicU64::new(0));
        let goroutines: Vec<_> = (0..8)
            .map(|n| {
                let (slot, sum) = (Arc::clone(&slot), Arc::clone(&sum));
                let work = move || {
                    for round in 0..rounds {
                        if n % 2 == 0 {
                            slot.put(n * rounds + round);
                        } else {
                            sum.fetch_add(slot.take(), Ordering::Relaxed);
                        }
                    }
                };
                scheduler.spawn(work).expect("open")
            })
            .collect();
        let (theirs, ours) = (Arc::clone(&slot), Arc::clone(&sum));
        let thread = std::thread::spawn(move || {
            for round in 0..rounds {
                theirs.put(1_000_000 + round);
                ours.fetch_add(theirs.take(), Ordering::Relaxed);
            }
        });
        for goroutine in goroutines {
            goroutine.join().expect("no panic");
        }
        thread.join().expect("no panic");
        let produced: u64 = (0..8)
            .step_by(2)
            .flat_map(|n| (0..rounds).map(move |round| n * rounds + round))
            .chain((0..rounds).map(|round| 1_000_000 + round))
            .sum();
        assert_eq!(sum.load(Ordering::Relaxed), produced);
    });
}

#[test]
fn an_unpark_before_the_park_is_kept() {
    in_both_modes(1, |scheduler| {
        let goroutine = || {
            park::current().unpark();
            park::current().unpark();
            park::park(WaitReason::Park);
            park::park_until(WaitReason::Park, Instant::now() + Duration::from_millis(1))
        };
        let woken = scheduler.spawn(goroutine).expect("open").join().expect("no panic");
        assert_eq!(woken, Woken::Timeout, "two unparks are one permit");
    });
}

#[test]
fn deadlines_come_and_not_early() {
    in_both_modes(2, |scheduler| {
        let sleepers: Vec<_> = (0..100u64)
            .map(|n| {
                let sleep = move || {
                    let until = Instant::now() + Duration::from_micros(n * 50);
                    while park::park_until(WaitReason::Sleep, until) == Woken::Unparked {}
                    Instant::now() >= until
                };
                scheduler.spawn(sleep).expect("open")
            })
            .collect();
        for sleeper in sleepers {
            assert!(sleeper.join().expect("no panic"), "woken before its time");
        }
    });
}

#[test]
fn an_unpark_comes_before_a_far_deadline() {
    in_both_modes(1, |scheduler| {
        let (tell, told) = mpsc::channel();
        let goroutine = move || {
            tell.send(park::current()).expect("the test listens");
            park::park_until(WaitReason::Park, Instant::now() + Duration::from_secs(3600))
        };
        let handle = scheduler.spawn(goroutine).expect("open");
        told.recv().expect("the goroutine says who it is").unpark();
        assert_eq!(handle.join().expect("no panic"), Woken::Unparked);
    });
}

#[test]
fn waiters_may_outlive_their_goroutine_and_its_scheduler() {
    for mode in common::MODES {
        let scheduler = scheduler(1, mode);
        let waiter = scheduler.spawn(park::current).expect("open").join().expect("no panic");
        waiter.unpark();
        assert_eq!(scheduler.shutdown(None).left, []);
        drop(scheduler);
        waiter.clone().unpark();
    }
}

#[test]
fn a_goroutine_waits_for_one_of_another_scheduler() {
    in_both_modes(1, |near| {
        let far = scheduler(1, !near.mode().is_own_tls());
        let there = far.clone();
        let outer = near.spawn(move || {
            let inner = there.spawn(|| {
                yield_now();
                current().map(|scheduler: Scheduler| scheduler.procs())
            });
            inner.expect("open").join().expect("no panic")
        });
        assert_eq!(outer.expect("open").join().expect("no panic"), Some(1));
        assert_eq!(far.shutdown(None).left, []);
    });
}

#[test]
fn yields_share_one_processor_fairly() {
    in_both_modes(1, |scheduler| {
        // Each may be ahead of the slowest by one turn of the queue, and no more.
        const GOROUTINES: usize = 4;
        const TURNS: usize = 200;
        let turns: Arc<[AtomicUsize; GOROUTINES]> = Arc::new(Default::default());
        let run = {
            let turns = Arc::clone(&turns);
            move || {
                let scheduler = current().expect("on a goroutine");
                let handles: Vec<_> = (0..GOROUTINES)
                    .map(|n| {
                        let turns = Arc::clone(&turns);
                        let work = move || {
                            turns[n].store(1, Ordering::Relaxed);
                            // One may have to wait for its stack: the race begins when all are here.
                            while turns.iter().any(|t| t.load(Ordering::Relaxed) == 0) {
                                yield_now();
                            }
                            let mut ahead = 0;
                            for turn in 2..=TURNS {
                                turns[n].store(turn, Ordering::Relaxed);
                                let least = turns.iter().map(|t| t.load(Ordering::Relaxed)).min();
                                ahead = ahead.max(turn - least.unwrap_or(turn));
                                yield_now();
                            }
                            ahead
                        };
                        scheduler.spawn(work).expect("open")
                    })
                    .collect();
                handles.into_iter().map(|handle| handle.join().expect("no panic")).max()
            }
        };
        let ahead = scheduler.spawn(run).expect("open").join().expect("no panic");
        assert!(ahead <= Some(2), "one goroutine was {ahead:?} turns ahead");
    });
}

/// What is handed to and fro is none for the third: who looks for work naps beside it, and still finds what is.
#[test]
fn an_m_naps_beside_two_who_wake_each_other() {
    in_both_modes(2, |scheduler| {
        let naps = || scheduler.stats().naps;
        let stop = Arc::new(AtomicBool::new(false));
        let (first, second) = (Arc::new(Slot::default()), Arc::new(Slot::default()));
        let to_and_fro =
            [(first.clone(), second.clone()), (second, first.clone())].map(|(from, to)| {
                let stop = Arc::clone(&stop);
                // Asked with the value in hand: who ends has handed it on, and the other one ends with it.
                let turn = move || {
                    loop {
                        let value = from.take();
                        let last = stop.load(Ordering::Relaxed);
                        to.put(value);
                        if last {
                            break;
                        }
                    }
                };
                scheduler.spawn(turn).expect("there is room")
            });
        first.put(0);
        let before = naps();
        while naps() < before + 3 {
            scheduler.spawn(|| ()).expect("there is room").join().expect("it only returns");
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        for one in to_and_fro {
            one.join().expect("both end");
        }
    });
}

/// Hooks that say at their end whether it is inside the runtime.
struct Ends(Arc<Mutex<Option<bool>>>);

impl Hooks for Ends {
    fn proc_start(&self, _: usize) -> *mut () {
        core::ptr::null_mut()
    }

    fn proc_stop(&self, _: usize, _: *mut ()) {}
}

impl Drop for Ends {
    fn drop(&mut self) {
        let inside = sched_core::tls::with_words(sched_core::tls::Words::is_inside);
        *self.0.lock().expect("no panic") = Some(inside);
    }
}

#[test]
fn a_scheduler_that_goes_with_its_last_waiter_goes_in_user_code() {
    let end = Arc::new(Mutex::new(None));
    let config = Config { procs: 1, ..Config::default() };
    let gone = Scheduler::new(config, Arc::new(Ends(Arc::clone(&end)))).expect("threads");
    let waiter = gone.spawn(park::current).expect("it is open").join().expect("no panic");
    assert_eq!(gone.shutdown(None).left, []);
    drop(gone);
    let other = scheduler(1, false);
    other.spawn(move || drop(waiter)).expect("it is open").join().expect("no panic");
    assert_eq!(*end.lock().expect("no panic"), Some(false));
    assert_eq!(other.shutdown(None).left, []);
}

/// In builds with debug assertions the lock around free records looks who takes it.
#[test]
fn a_goroutine_gives_back_the_record_of_a_thread_that_has_ended() {
    in_both_modes(1, |scheduler| {
        let waiter = std::thread::spawn(park::current).join().expect("no panic");
        scheduler.spawn(move || drop(waiter)).expect("it is open").join().expect("no panic");
    });
}
