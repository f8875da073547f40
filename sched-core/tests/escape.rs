//! All threads at the cap are blocked, and whoever could help waits for one: signals take the blocked out
//! of the kernel. Without signals nobody is interrupted with a lock in hand; who blocks with all others on a
//! lock that its holder keeps over a park is reported, and the process ends.

mod common;

use std::{
    env,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use common::{MODES, Watch};
use sched_core::{
    Config, Preemption, Scheduler,
    park::{self, WaitReason},
};

/// Set in a child that is to abort.
const CHILD: &str = "SCHED_TEST_CHILD";

/// Threads at most.
const CAP: usize = 8;

fn capped(preemption: Preemption, thread_mode: bool) -> Scheduler {
    common::with(Config {
        procs: 2,
        max_threads: CAP,
        preemption,
        thread_mode,
        ..Config::default()
    })
}

/// Twice as many goroutines as threads start threads all the time, and wait for them: each takes locks of
/// libc's, and with a slice this short is interrupted with them in hand, if it is interrupted at all.
fn start_threads(preemption: Preemption) {
    for thread_mode in MODES {
        let scheduler = capped(preemption, thread_mode);
        let watch = Watch::start(&scheduler, Duration::from_micros(50));
        let start = |n: usize| thread::spawn(move || n).join().expect("no panic");
        let rounds = move || (0..50).map(start).sum::<usize>();
        let all = [(); 2 * CAP].map(|()| scheduler.spawn(rounds).expect("it is open"));
        let sum: usize = all.into_iter().map(|one| one.join().expect("no panic")).sum();
        assert_eq!(sum, 2 * CAP * 49 * 50 / 2);
        watch.stop();
        assert_eq!(scheduler.shutdown(None).left, []);
    }
}

#[test]
fn goroutines_that_start_threads_get_on_with_signals() {
    start_threads(Preemption::Inject);
}

#[test]
fn goroutines_that_start_threads_get_on_without_signals() {
    start_threads(Preemption::Cooperative);
}

/// A goroutine parks with a lock in hand; more than there are threads want it; the one that would unpark
/// the holder is behind them.
fn block_behind_a_parked_holder(preemption: Preemption, thread_mode: bool) {
    let scheduler = capped(preemption, thread_mode);
    let watch = Watch::start(&scheduler, Duration::from_secs(3600));
    let (lock, holder) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(None)));
    let held = Arc::new(AtomicBool::new(false));
    let keep = {
        let (lock, holder, held) = (Arc::clone(&lock), Arc::clone(&holder), Arc::clone(&held));
        scheduler.spawn(move || {
            let _guard = lock.lock().expect("no panic");
            *holder.lock().expect("no panic") = Some(park::current());
            held.store(true, Ordering::Release);
            park::park(WaitReason::Park);
        })
    };
    while !held.load(Ordering::Acquire) {
        thread::yield_now();
    }
    let begun = Arc::new(AtomicUsize::new(0));
    let wait = || {
        let (lock, begun) = (Arc::clone(&lock), Arc::clone(&begun));
        scheduler.spawn(move || {
            begun.fetch_add(1, Ordering::Relaxed);
            *lock.lock().expect("no panic") += 1;
        })
    };
    let waiting = [(); 2 * CAP].map(|()| wait().expect("it is open"));
    // As many as there are threads stand in the kernel, and keep them.
    while begun.load(Ordering::Relaxed) < CAP {
        thread::yield_now();
    }
    let help = scheduler.spawn(move || {
        holder.lock().expect("no panic").take().expect("it was left there").unpark();
    });
    help.expect("it is open").join().expect("no panic");
    keep.expect("it is open").join().expect("no panic");
    waiting.into_iter().for_each(|one| one.join().expect("no panic"));
    assert_eq!(*lock.lock().expect("no panic"), 2 * CAP);
    watch.stop();
    assert_eq!(scheduler.shutdown(None).left, []);
}

#[test]
fn signals_free_the_threads_that_block_behind_a_parked_holder() {
    for thread_mode in MODES {
        block_behind_a_parked_holder(Preemption::Inject, thread_mode);
    }
}

#[test]
fn without_signals_the_process_says_that_all_threads_are_blocked() {
    if env::var_os(CHILD).is_some() {
        block_behind_a_parked_holder(Preemption::Cooperative, false);
        unreachable!("nothing takes a goroutine out of the kernel");
    }
    let name = "without_signals_the_process_says_that_all_threads_are_blocked";
    let child = Command::new(env::current_exe().expect("a test has a path"))
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("the test can be run again");
    let said = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{said}");
    assert!(said.contains("all 8 threads are blocked in the kernel"), "{said}");
    // Who holds what they wait for is in the list: it is the one that is parked.
    let parked = said.lines().filter(|line| line.contains(" [park, ")).count();
    assert_eq!(parked, 1, "{said}");
}
