//! A goroutine that computes for ever does not keep its P, and never notices that it lost it.

mod common;

use std::{
    cell::Cell,
    collections::HashMap,
    fmt::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use common::watched;
use sched_core::{
    Config, JoinHandle, Preemption, Scheduler, SelfPaced, current,
    monitor::{KernelState, MachineView, Monitor},
    park::{self, WaitReason, Waiter, Woken, park_until},
    self_paced, yield_now,
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
        // There is one P: these run only if the loop loses it. The first time it may be taken for blocked (its
        // first page is a fault), and compute on without a P until the watch sees it.
        while scheduler.stats().preemptions == 0 {
            scheduler.spawn(|| ()).expect("open").join().expect("no panic");
        }
        stop.store(true, Ordering::Relaxed);
        assert!(hog.expect("open").join().expect("no panic") > 0);
    });
}

/// Waits for ten minutes by a call of libc's, made directly: its error.
fn nanosleep() -> Option<i32> {
    let minutes = libc::timespec { tv_sec: 600, tv_nsec: 0 };
    // SAFETY: a value of ours; what is left is not asked for.
    let ended = unsafe { libc::nanosleep(&minutes, std::ptr::null_mut()) };
    (ended == -1).then(last_error)
}

/// The same by another.
fn poll() -> Option<i32> {
    // SAFETY: no descriptor is watched.
    let ended = unsafe { libc::poll(std::ptr::null_mut(), 0, 600_000) };
    (ended == -1).then(last_error)
}

fn last_error() -> i32 {
    std::io::Error::last_os_error().raw_os_error().expect("one of the kernel's")
}

/// Asks whoever runs to give way, and signals him, wherever he is. How many of them slept in the kernel.
fn interrupt(monitor: &Monitor, views: &mut Vec<MachineView>) -> usize {
    let asleep = |id| monitor.kernel_state(id, &mut None) == KernelState::Sleeping;
    monitor.snapshot(views);
    let running = views.iter().filter(|view| view.running);
    running
        .filter(|view| {
            let sleeps = asleep(view.id);
            monitor.request_preempt(view);
            monitor.signal(view.id);
            sleeps
        })
        .count()
}

#[test]
fn a_preemption_ends_a_call_that_sleeps_in_the_kernel() {
    common::in_both_modes(1, |scheduler| {
        let (monitor, mut views) = (scheduler.monitor(), Vec::new());
        for call in [nanosleep, poll] {
            let sleeps = scheduler.spawn(call).expect("it is open");
            while !sleeps.is_finished() {
                interrupt(&monitor, &mut views);
            }
            assert_eq!(sleeps.join().expect("no panic"), Some(libc::EINTR));
        }
    });
}

/// It calls again, for what is left.
#[test]
fn a_preemption_does_not_end_a_sleep_of_stds() {
    const SPAN: Duration = Duration::from_millis(5);
    common::in_both_modes(1, |scheduler| {
        let (monitor, mut views) = (scheduler.monitor(), Vec::new());
        let enough = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&enough);
        let sleeps = scheduler.spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let begin = Instant::now();
                std::thread::sleep(SPAN);
                assert!(begin.elapsed() >= SPAN);
            }
        });
        let mut interrupted = 0;
        while interrupted < 100 {
            interrupted += interrupt(&monitor, &mut views);
        }
        enough.store(true, Ordering::Relaxed);
        sleeps.expect("it is open").join().expect("no panic");
    });
}

/// On one P, in both modes, where only those give way who are asked to and enter the runtime.
fn on_a_cooperative_p(check: impl Fn(&Scheduler)) {
    for thread_mode in common::MODES {
        let scheduler = common::with(Config {
            procs: 1,
            thread_mode,
            preemption: Preemption::Cooperative,
            ..Config::default()
        });
        check(&scheduler);
        assert_eq!(scheduler.shutdown(None).left, []);
    }
}

#[test]
fn without_signals_a_goroutine_gives_way_where_it_enters() {
    on_a_cooperative_p(|scheduler| {
        let watch = common::Watch::start(scheduler, Duration::from_millis(1));
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
    });
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

/// Who had a turn, in order.
#[derive(Clone, Default)]
struct Turns(Arc<Mutex<Vec<&'static str>>>);

impl Turns {
    fn note(&self, who: &'static str) {
        self.0.lock().expect("no panic").push(who);
    }

    fn all(&self) -> Vec<&'static str> {
        self.0.lock().expect("no panic").clone()
    }
}

/// A goroutine that has its turn when it is unparked. It has begun, so that it has a stack.
fn turn_of(who: &'static str, turns: &Turns) -> (JoinHandle<()>, Waiter) {
    let (turns, (tell, told)) = (turns.clone(), std::sync::mpsc::channel());
    let home = current().expect("a goroutine");
    let parks = home.spawn(move || {
        tell.send(park::current()).expect("it is waited for");
        park::park(WaitReason::Park);
        turns.note(who);
    });
    let waiter = loop {
        yield_now();
        if let Ok(waiter) = told.try_recv() {
            break waiter;
        }
    };
    (parks.expect("open"), waiter)
}

/// Who has a turn after the only P's goroutine, behind which two others stand, was made to give way.
fn turns_after(scheduler: &Scheduler, pace: fn() -> Option<SelfPaced>) -> Vec<&'static str> {
    let turns = Turns::default();
    let notes = turns.clone();
    let gives_way = scheduler.spawn(move || {
        let _pace = pace();
        let others = ["last", "next"].map(|who| turn_of(who, &notes));
        // Who is unparked last has the next turn.
        others.iter().for_each(|(_, waiter)| waiter.unpark());
        let monitor = current().expect("a goroutine").monitor();
        assert!(monitor.request_preempt(&common::own_view(&monitor)), "its slice goes on");
        drop(sched_core::entry::enter());
        notes.note("itself");
        others.into_iter().for_each(|(other, _)| other.join().expect("no panic"));
    });
    gives_way.expect("open").join().expect("no panic");
    turns.all()
}

#[test]
fn one_who_paces_himself_does_not_stand_behind_hogs() {
    on_a_cooperative_p(|scheduler| {
        let behind = ["next", "last", "itself"];
        assert_eq!(turns_after(scheduler, || None), behind);
        let no_more = || {
            drop(self_paced());
            None
        };
        assert_eq!(turns_after(scheduler, no_more), behind);
        let before = ["next", "itself", "last"];
        assert_eq!(turns_after(scheduler, || Some(self_paced())), before);
        let again = || {
            let pace = self_paced();
            drop(self_paced());
            Some(pace)
        };
        assert_eq!(turns_after(scheduler, again), before, "the inner end is not the outer one");
    });
}

#[test]
fn one_who_is_unparked_urgently_goes_before_others() {
    on_a_cooperative_p(|scheduler| {
        let turns = Turns::default();
        let notes = turns.clone();
        let wakes = scheduler.spawn(move || {
            let others = ["urgent", "next"].map(|who| turn_of(who, &notes));
            others[0].1.unpark_urgently();
            others[1].1.unpark();
            others.into_iter().for_each(|(other, _)| other.join().expect("no panic"));
        });
        wakes.expect("open").join().expect("no panic");
        assert_eq!(turns.all(), ["urgent", "next"]);
    });
}

#[test]
fn a_request_is_for_the_slice_that_was_seen() {
    on_a_cooperative_p(|scheduler| {
        let turns = Turns::default();
        let notes = turns.clone();
        let asked = scheduler.spawn(move || {
            let home = current().expect("a goroutine");
            let monitor = home.monitor();
            let before = common::own_view(&monitor);
            home.spawn(|| ()).expect("open").join().expect("no panic");
            yield_now();
            assert!(!monitor.request_preempt(&before), "that slice is over");
            let theirs = notes.clone();
            let other = home.spawn(move || theirs.note("other")).expect("open");
            drop(sched_core::entry::enter());
            notes.note("asked");
            other.join().expect("no panic");
        });
        asked.expect("open").join().expect("no panic");
        assert_eq!(turns.all(), ["asked", "other"]);
    });
}

/// Who comes first: a goroutine that holds `holds` and has had its P for long, or one that holds 1 and waits for
/// it, after somebody was said to wait for those who hold less than `below`.
fn turns_in_a_hurry(scheduler: &Scheduler, holds: u64, below: u64) -> Vec<&'static str> {
    let hold = |what| {
        sched_core::holds_or(&AtomicU64::new(0), |word| word.store(what, Ordering::Relaxed));
    };
    let turns = Turns::default();
    let notes = turns.clone();
    let runs = scheduler.spawn(move || {
        let home = current().expect("a goroutine");
        let (theirs, begun) = (notes.clone(), Arc::new(AtomicBool::new(false)));
        let begins = Arc::clone(&begun);
        let waits = home.spawn(move || {
            hold(1);
            begins.store(true, Ordering::Relaxed);
            yield_now();
            theirs.note("waiting");
            hold(0);
        });
        while !begun.load(Ordering::Relaxed) {
            yield_now();
        }
        hold(holds);
        let (monitor, mut views) = (home.monitor(), Vec::new());
        let is_old = |view: &MachineView| view.slice_age >= Duration::from_millis(1);
        while !views.iter().any(is_old) {
            monitor.snapshot(&mut views);
        }
        home.hurry_holders(below);
        drop(sched_core::entry::enter());
        notes.note("running");
        hold(0);
        home.hurry_holders(0);
        waits.expect("open").join().expect("no panic");
    });
    runs.expect("open").join().expect("no panic");
    turns.all()
}

#[test]
fn only_slices_of_those_nobody_waits_for_end_for_holders() {
    on_a_cooperative_p(|scheduler| {
        let turns = |holds, below| turns_in_a_hurry(scheduler, holds, below);
        let (runs_on, gives_way) = (["running", "waiting"], ["waiting", "running"]);
        assert_eq!(turns(1, 2), runs_on, "it is waited for as well");
        assert_eq!(turns(2, 2), gives_way, "what it holds is newer");
        assert_eq!(turns(0, 2), gives_way, "it holds nothing");
        assert_eq!(turns(0, 0), runs_on, "nobody waits");
    });
}
