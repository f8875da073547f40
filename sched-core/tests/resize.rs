//! More Ps and fewer, while goroutines run, compute, block and are taken from.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{in_both_modes, watched};
use sched_core::{
    Error, Scheduler, current,
    monitor::MachineView,
    park::{self, WaitReason},
    yield_now,
};

/// A slice of the watch that none of these tests wait for.
const SLICE: Duration = Duration::from_millis(10);

/// How many Ps are held by anybody or idle.
fn procs_in_use(scheduler: &Scheduler, views: &mut Vec<MachineView>) -> usize {
    let monitor = scheduler.monitor();
    monitor.snapshot(views);
    views.iter().filter(|view| view.proc.is_some()).count() + monitor.load().idle_procs
}

/// Waits until at most `count` goroutines can run at once.
fn until_at_most(scheduler: &Scheduler, count: usize) {
    let mut views = Vec::new();
    while procs_in_use(scheduler, &mut views) > count {
        thread::yield_now();
    }
}

/// Runs `count` goroutines that all wait for each other without giving way: they meet only if all
/// of them run at once.
fn meet(scheduler: &Scheduler, count: usize) {
    let here = Arc::new(AtomicUsize::new(0));
    let all: Vec<_> = (0..count)
        .map(|_| {
            let here = Arc::clone(&here);
            let goroutine = move || {
                here.fetch_add(1, Ordering::Relaxed);
                while here.load(Ordering::Relaxed) < count {
                    std::hint::spin_loop();
                }
            };
            scheduler.spawn(goroutine).expect("open")
        })
        .collect();
    all.into_iter().for_each(|one| one.join().expect("no panic"));
}

#[test]
fn nonsense_is_an_error() {
    in_both_modes(2, |scheduler| {
        for procs in [0, 1025, scheduler.config().max_threads] {
            assert!(matches!(scheduler.set_procs(procs), Err(Error::Config(_))));
        }
        assert_eq!(scheduler.procs(), 2);
    });
}

#[test]
fn more_run_at_once() {
    // No monitor: nobody is preempted, so those who meet have a P each.
    in_both_modes(1, |scheduler| {
        meet(scheduler, 1);
        for procs in [2, 4, 7] {
            scheduler.set_procs(procs).expect("there is room");
            assert_eq!((scheduler.procs(), scheduler.monitor().load().procs), (procs, procs));
            meet(scheduler, procs);
        }
    });
}

#[test]
fn idle_ones_go_at_once_and_come_back() {
    in_both_modes(8, |scheduler| {
        meet(scheduler, 8);
        while !scheduler.monitor().load().is_idle() {
            thread::yield_now();
        }
        scheduler.set_procs(3).expect("there is room");
        assert_eq!(scheduler.monitor().load().idle_procs, 3);
        assert!(scheduler.monitor().load().is_idle());
        scheduler.set_procs(6).expect("there is room");
        assert_eq!(scheduler.monitor().load().idle_procs, 6);
        meet(scheduler, 6);
    });
}

/// Goroutines that compute without end hold all Ps; then there shall be one.
#[test]
fn computing_goroutines_give_theirs_up() {
    in_both_modes(4, |scheduler| {
        let (stop, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let all: Vec<_> = (0..4)
            .map(|_| {
                let (stop, turns) = (Arc::clone(&stop), Arc::clone(&turns));
                let hog = move || {
                    while !stop.load(Ordering::Relaxed) {
                        turns.fetch_add(1, Ordering::Relaxed);
                    }
                };
                scheduler.spawn(hog).expect("open")
            })
            .collect();
        while scheduler.monitor().load().idle_procs > 0 {
            thread::yield_now();
        }
        scheduler.set_procs(1).expect("there is room");
        until_at_most(scheduler, 1);
        let before = turns.load(Ordering::Relaxed);
        while turns.load(Ordering::Relaxed) == before {
            thread::yield_now();
        }
        scheduler.set_procs(4).expect("there is room");
        stop.store(true, Ordering::Relaxed);
        all.into_iter().for_each(|one| one.join().expect("no panic"));
    });
}

/// No slice ends, so a goroutine keeps its P until it parks or is asked to give way for a P that is too
/// many. That may be in the middle of `malloc`, so somebody must see to those who wait for its locks.
#[test]
fn a_queue_that_loses_its_proc_is_run_by_others() {
    watched(3, Duration::MAX, |scheduler| {
        let ran = Arc::new(AtomicUsize::new(0));
        let parents: Vec<_> = (0..3)
            .map(|_| {
                let ran = Arc::clone(&ran);
                let parent = move || {
                    let here = current().expect("on a goroutine");
                    let children: Vec<_> = (0..100)
                        .map(|_| {
                            let ran = Arc::clone(&ran);
                            here.spawn(move || ran.fetch_add(1, Ordering::Relaxed)).expect("open")
                        })
                        .collect();
                    here.set_procs(1).expect("there is room");
                    for child in children {
                        child.join().expect("no panic");
                    }
                };
                scheduler.spawn(parent).expect("open")
            })
            .collect();
        parents.into_iter().for_each(|one| one.join().expect("no panic"));
        assert_eq!((ran.load(Ordering::Relaxed), scheduler.procs()), (300, 1));
        until_at_most(scheduler, 1);
    });
}

/// A goroutine that blocks in the kernel has a P that is too many: the monitor takes it, and it is
/// nobody's then.
#[test]
fn a_blocked_goroutine_loses_a_surplus_proc() {
    watched(2, SLICE, |scheduler| {
        let (tell, told) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let blocked = scheduler.spawn(move || {
            tell.send(()).expect("the test listens");
            released.recv().is_err()
        });
        told.recv().expect("it runs");
        let computes = Arc::new(AtomicBool::new(true));
        let on = Arc::clone(&computes);
        let hog = scheduler.spawn(move || {
            while on.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        scheduler.set_procs(1).expect("there is room");
        until_at_most(scheduler, 1);
        computes.store(false, Ordering::Relaxed);
        hog.expect("open").join().expect("no panic");
        drop(release);
        assert!(blocked.expect("open").join().expect("no panic"));
        assert_eq!(scheduler.procs(), 1);
    });
}

/// Everything at once: parks, yields, sleeps in the kernel, spawns, and a number of Ps that changes
/// all the time. What counts is that all of it ends, and that the number is kept at the end.
#[test]
fn any_number_at_any_time_loses_nobody() {
    watched(2, SLICE, |scheduler| {
        let rounds = if scheduler.mode().is_own_tls() { 400 } else { 60 };
        let done = Arc::new(AtomicUsize::new(0));
        let all: Vec<_> = (0..16)
            .map(|kind| {
                let done = Arc::clone(&done);
                let work = move || {
                    for round in 0..rounds {
                        step(kind + round);
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                };
                scheduler.spawn(work).expect("open")
            })
            .collect();
        let mut procs = 1;
        while !all.iter().all(|one| one.is_finished()) {
            procs = (procs * 5 + 3) % 8;
            scheduler.set_procs(procs + 1).expect("there is room");
            thread::yield_now();
        }
        all.into_iter().for_each(|one| one.join().expect("no panic"));
        assert_eq!(done.load(Ordering::Relaxed), 16 * rounds);
        scheduler.set_procs(2).expect("there is room");
        until_at_most(scheduler, 2);
        meet(scheduler, 2);
    });
}

/// One of the things that a goroutine does.
fn step(kind: usize) {
    match kind % 5 {
        0 => yield_now(),
        1 => thread::sleep(Duration::from_micros(300)),
        2 => {
            let here = current().expect("on a goroutine");
            here.spawn(|| ()).expect("open").join().expect("no panic");
        }
        3 => {
            let soon = std::time::Instant::now() + Duration::from_micros(100);
            let _ = park::park_until(WaitReason::Sleep, soon);
        }
        _ => (0..2_000).for_each(|_| std::hint::spin_loop()),
    }
}

#[test]
fn an_ended_scheduler_ignores_it() {
    in_both_modes(2, |scheduler| {
        assert_eq!(scheduler.shutdown(None).left, []);
        scheduler.set_procs(5).expect("it does nothing");
    });
}
