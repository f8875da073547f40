//! A goroutine that computes for ever does not keep its P, and never notices that it lost it.

mod common;

use std::{
    cell::Cell,
    collections::HashMap,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use common::watched;
use sched_core::{
    Config, Preemption, current,
    park::{WaitReason, Woken, park_until},
};

#[test]
fn a_loop_gives_way() {
    watched(1, Duration::from_millis(1), |scheduler| {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let (tell, told) = std::sync::mpsc::channel();
        let hog = scheduler.spawn(move || {
            tell.send(()).expect("the test listens");
            // One that is preempted before it comes here may find that it is to stop.
            let mut turns = 1u64;
            while !seen.load(Ordering::Relaxed) {
                turns += 1;
            }
            turns
        });
        told.recv().expect("the loop begins");
        // There is one P: this runs only if the loop loses it.
        scheduler.spawn(|| ()).expect("open").join().expect("no panic");
        // A loop taken for blocked (its first page is a fault) computes on without a P, until the
        // watch sees it.
        while scheduler.stats().preemptions == 0 {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(hog.expect("open").join().expect("no panic") > 0);
    });
}

#[test]
fn without_signals_a_goroutine_gives_way_where_it_enters() {
    for thread_mode in common::MODES {
        let scheduler = common::with(Config {
            procs: 1,
            thread_mode,
            preemption: Preemption::Cooperative,
            ..Config::default()
        });
        let watch = common::Watch::start(&scheduler, Duration::from_millis(1));
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let hog = scheduler.spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                drop(sched_core::entry::enter());
            }
        });
        let other = scheduler.spawn(move || stop.store(true, Ordering::Relaxed)).expect("open");
        other.join().expect("no panic");
        hog.expect("open").join().expect("no panic");
        watch.stop();
        assert_eq!(scheduler.shutdown(None).left, []);
    }
}

thread_local! {
    static MINE: Cell<u64> = const { Cell::new(0) };
}

/// Work of many kinds with a result that is known.
fn work(seed: u64) -> u64 {
    MINE.set(seed);
    let mut text = String::new();
    let mut map = HashMap::new();
    let mut sum = 0f64;
    for n in 0..400u64 {
        let _ = write!(text, "{n}:{:.3};", (n as f64).sqrt());
        map.insert(n, vec![n; (n % 17) as usize]);
        sum += (n as f64).sin();
        // SAFETY: the location is the calling thread's, which is the goroutine.
        unsafe { *libc::__errno_location() = n as i32 };
        assert_eq!(MINE.get(), seed, "a thread-local moved");
        // SAFETY: as above.
        assert_eq!(unsafe { *libc::__errno_location() }, n as i32, "errno moved");
    }
    let lengths: usize = map.values().map(Vec::len).sum();
    let bytes: u64 = text.bytes().map(u64::from).sum();
    bytes + lengths as u64 + (sum * 1e6) as u64 + seed
}

#[test]
fn a_storm_of_preemptions_changes_no_result() {
    let expected = work(0);
    watched(2, Duration::from_micros(10), |scheduler| {
        let goroutines = if scheduler.mode().is_own_tls() { 200 } else { 40 };
        // Once more if the storm did not blow.
        while scheduler.stats().preemptions == 0 {
            let handles: Vec<_> = (0..goroutines)
                .map(|n| {
                    let run = move || {
                        assert!(current().is_some());
                        let seeds = n * 5..n * 5 + 5;
                        seeds.map(|seed| work(seed) - seed).collect::<Vec<_>>()
                    };
                    scheduler.spawn(run).expect("open")
                })
                .collect();
            for handle in handles {
                let results = handle.join().expect("no panic");
                assert!(results.iter().all(|&result| result == expected), "{results:?}");
            }
        }
    });
}

#[test]
fn a_sleeper_is_not_kept_waiting_by_hogs() {
    // The watch ends no slice: only the timer's own signal does.
    watched(2, Duration::from_secs(3600), |scheduler| {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let (awake, started) = std::sync::mpsc::channel();
        let sleeper = scheduler.spawn(move || {
            awake.send(()).expect("the test listens");
            for _ in 0..20 {
                let until = Instant::now() + Duration::from_millis(1);
                while park_until(WaitReason::Sleep, until) == Woken::Unparked {}
            }
            told.store(true, Ordering::Relaxed);
        });
        started.recv().expect("the sleeper runs");
        let hogs: Vec<_> = (0..4)
            .map(|_| {
                let stop = Arc::clone(&stop);
                let hog = move || while !stop.load(Ordering::Relaxed) {};
                scheduler.spawn(hog).expect("open")
            })
            .collect();
        sleeper.expect("open").join().expect("no panic");
        for hog in hogs {
            hog.join().expect("no panic");
        }
    });
}

/// There is one P. A sleeper takes it from a goroutine behind which another one waits that would never give it
/// back, as nobody ends slices here: the first one has its turn again only if it stands before that one.
#[test]
fn one_who_paces_himself_does_not_stand_behind_hogs() {
    for thread_mode in common::MODES {
        let config = Config { procs: 1, thread_mode, ..Config::default() };
        let scheduler = common::with(config);
        let [begun, slept, stop] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
        let paced = scheduler.spawn(move || {
            let pace = sched_core::self_paced();
            let [begins, wakes, ends] = [&begun, &slept, &stop].map(Arc::clone);
            let home = current().expect("a goroutine");
            let sleeper = home.spawn(move || {
                // It may lose the P as well before it is done.
                let _pace = sched_core::self_paced();
                begins.store(true, Ordering::Relaxed);
                let until = Instant::now() + Duration::from_millis(1);
                while park_until(WaitReason::Sleep, until) == Woken::Unparked {}
                wakes.store(true, Ordering::Relaxed);
            });
            while !begun.load(Ordering::Relaxed) {
                sched_core::yield_now();
            }
            let hog = home.spawn(move || while !ends.load(Ordering::Relaxed) {});
            while !slept.load(Ordering::Relaxed) {}
            stop.store(true, Ordering::Relaxed);
            drop(pace);
            for child in [sleeper, hog] {
                child.expect("open").join().expect("no panic");
            }
        });
        paced.expect("open").join().expect("no panic");
        assert_eq!(scheduler.shutdown(None).left, []);
    }
}
