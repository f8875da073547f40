//! What concerns the whole process: a stack overflow, the cap of threads, a forked child.

mod common;

use std::{
    env,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use common::{MODES, Watch, in_both_modes, scheduler};
use sched_core::{
    Config, current,
    tls::{Surplus, probe},
};

/// Set in a child that is to abort: which mode.
const CHILD: &str = "SCHED_TEST_CHILD";

#[inline(never)]
fn deep(level: u64) -> u64 {
    let ballast = std::hint::black_box([level; 64]);
    if level == u64::MAX { 0 } else { deep(level + 1) + ballast[(level % 64) as usize] }
}

#[test]
fn an_overflow_names_the_goroutine_and_aborts() {
    if let Some(mode) = env::var_os(CHILD) {
        let scheduler = scheduler(1, mode == "true");
        let _ = scheduler.spawn(|| deep(0)).expect("it is open").join();
        unreachable!("an overflow is survived by nobody");
    }
    for mode in MODES {
        let said = abort_of("an_overflow_names_the_goroutine_and_aborts", mode);
        assert!(said.contains("goroutine 1 has overflowed its stack"), "{said}");
    }
}

#[test]
fn an_overflow_names_who_started_the_goroutine_and_where() {
    if let Some(mode) = env::var_os(CHILD) {
        let scheduler = scheduler(1, mode == "true");
        let outer = || current().expect("on a goroutine").spawn(|| deep(0)).expect("open").join();
        let _ = scheduler.spawn(outer).expect("it is open").join();
        unreachable!("an overflow is survived by nobody");
    }
    for mode in MODES {
        let said = abort_of("an_overflow_names_who_started_the_goroutine_and_where", mode);
        assert!(said.contains("has overflowed its stack; it was started at "), "{said}");
        let line = said.lines().find(|line| line.contains("overflowed")).expect("just seen");
        assert!(line.contains(file!()) && line.ends_with(" by goroutine 1"), "{said}");
    }
}

#[test]
fn without_a_file_descriptor_for_the_probes_threads_are_used_and_the_reason_is_true() {
    const NAME: &str =
        "without_a_file_descriptor_for_the_probes_threads_are_used_and_the_reason_is_true";
    if env::var_os(CHILD).is_some() {
        // Those that are open stay so; no other is to be had.
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a value of ours.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &none) }, 0);
        println!("{}", probe(Surplus::Take));
        return;
    }
    if !probe(Surplus::Take).is_own_tls() {
        return;
    }
    let child = Command::new(env::current_exe().expect("we run"))
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, "")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("no pipe for a probe: ") && said.contains("(os error 24)"), "{said}");
}

#[test]
fn at_the_cap_of_threads_the_process_says_what_to_do() {
    if let Some(mode) = env::var_os(CHILD) {
        let config =
            Config { procs: 1, max_threads: 4, thread_mode: mode == "true", ..Config::default() };
        let scheduler = common::with(config);
        let _watch = Watch::start(&scheduler, Duration::from_secs(3600));
        let (_sender, receiver) = mpsc::channel::<()>();
        let receiver = Arc::new(Mutex::new(receiver));
        // The first blocks in the channel, all others in the lock.
        let block = |n| {
            let receiver = Arc::clone(&receiver);
            scheduler.spawn(move || (n, receiver.lock().expect("no panic").recv().is_ok()))
        };
        let blocked: Vec<_> = (0..8).map(block).collect();
        for handle in blocked {
            let _ = handle.expect("it is open").join();
        }
        unreachable!("nobody sends");
    }
    for mode in MODES {
        let said = abort_of("at_the_cap_of_threads_the_process_says_what_to_do", mode);
        assert!(said.contains("all 4 threads are blocked in the kernel"), "{said}");
        let all = said.lines().filter(|line| line.starts_with("goroutine "));
        let (ready, at_threads): (Vec<_>, Vec<_>) =
            all.partition(|line| line.contains("[runnable] "));
        assert!(
            (1..=4).contains(&at_threads.len()) && at_threads.len() + ready.len() == 8,
            "{said}"
        );
        // One that a signal has just taken out of the kernel may be on its way back.
        let is_there =
            |line: &&str| line.contains("[blocked in the kernel] ") || line.contains("[running] ");
        assert!(at_threads.iter().all(is_there), "{said}");
    }
}

/// Runs a test of this file again, as a child that aborts; gives what it said.
fn abort_of(test: &str, mode: bool) -> String {
    let child = Command::new(env::current_exe().expect("a test has a path"))
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, mode.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("the test can be run again");
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{said}");
    said
}

#[test]
fn a_forked_child_allocates_and_enters_without_a_p() {
    in_both_modes(2, |scheduler| {
        let status = scheduler.spawn(|| {
            // SAFETY: the child is one thread; it allocates, enters, and exits.
            match unsafe { libc::fork() } {
                0 => {
                    let text = format!("{:?}", vec![1, 2, 3]);
                    let entered = sched_core::entry::enter();
                    let fine = text.len() == 9 && entered.proc_index().is_none();
                    drop(entered);
                    // SAFETY: ends the child without running the parent's exit handlers.
                    unsafe { libc::_exit(if fine { 42 } else { 1 }) }
                }
                child => {
                    let mut status = 0;
                    // SAFETY: waits for the child just made.
                    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                    libc::WEXITSTATUS(status)
                }
            }
        });
        assert_eq!(status.expect("it is open").join().expect("no panic"), 42);
    });
}
