//! What concerns the whole process: a stack overflow, the cap of threads, a forked child, its output, its end, its
//! mappings.

mod common;
#[path = "common/meddler.rs"]
mod meddler;

use std::{
    cell::Cell,
    collections::HashSet,
    env,
    os::unix::process::ExitStatusExt,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, Output},
    ptr::null_mut,
    sync::{Arc, Mutex, OnceLock, mpsc},
    time::{Duration, Instant},
};

use common::{MODES, Watch, in_both_modes, scheduler};
use meddler::{Meddle, Meddler};
use sched_core::{
    Config, Preemption, current,
    entry::enter,
    park::{self, WaitReason, Waiter, park_until},
    policy::{Chosen, Gmp},
    tls::{Surplus, probe},
    yield_now,
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
            |line: &&str| line.contains("[blocked in the kernel, ") || line.contains("[running, ");
        assert!(at_threads.iter().all(is_there), "{said}");
    }
}

#[test]
fn a_panic_of_a_policy_is_the_callers_or_says_where_it_was() {
    if let Some(mode) = env::var_os(CHILD) {
        let scheduler = scheduler(1, mode == "true");
        let change = || scheduler.set_policy(&Chosen::new(Meddler(Bomb::Made)));
        assert!(catch_unwind(AssertUnwindSafe(change)).is_err());
        scheduler.set_policy(&Chosen::new(Meddler(Bomb::Dropped)));
        scheduler.set_policy(&Chosen::new(Gmp));
        // Nobody else changes the policy, so the service thread drops them.
        let _ = park_until(WaitReason::Park, Instant::now() + Duration::from_secs(60));
        unreachable!("they were dropped");
    }
    for mode in MODES {
        let said = abort_of("a_panic_of_a_policy_is_the_callers_or_says_where_it_was", mode);
        assert!(said.contains("the queues go off"), "{said}");
        assert!(said.contains("sched-core: fatal: the service thread panicked"), "{said}");
    }
}

/// When a policy panics, but not in the runtime.
#[derive(Clone, Debug, PartialEq)]
enum Bomb {
    /// As its queues are made.
    Made,
    /// As they are dropped.
    Dropped,
}

impl Meddle for Bomb {
    fn made(&self) {
        assert_ne!(*self, Bomb::Made, "the queues cannot be made");
    }

    fn dropped(&self) {
        panic!("the queues go off");
    }
}

/// Runs a test of this file again, as a child; gives what it did.
fn child(test: &str, mode: bool) -> Output {
    Command::new(env::current_exe().expect("a test has a path"))
        .args([test, "--exact", "--nocapture", "--quiet"])
        .env(CHILD, mode.to_string())
        .output()
        .expect("the test can be run again")
}

/// As [`child`], for one that aborts; gives what it said.
fn abort_of(test: &str, mode: bool) -> String {
    let child = child(test, mode);
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{said}");
    said
}

const WRITERS: usize = 24;
const LINES: usize = 50;

/// Of many pieces, each of which is a write of its own where there is no buffer.
fn line(writer: usize, number: usize) -> String {
    format!("<{writer} {number} {writer} {number} {writer} {number}>")
}

/// Prints numbered lines to both streams, with a park after each; gives the threads that it was on.
fn write_lines(writer: usize) -> HashSet<i32> {
    let mut threads = HashSet::new();
    for number in 0..LINES {
        println!("<{writer} {number} {writer} {number} {writer} {number}>");
        eprintln!("<{writer} {number} {writer} {number} {writer} {number}>");
        // SAFETY: no memory is passed.
        threads.insert(unsafe { libc::gettid() });
        let _ = park_until(WaitReason::Sleep, Instant::now() + Duration::from_micros(10));
    }
    threads
}

#[test]
fn lines_of_goroutines_that_move_are_whole_and_all_there() {
    const NAME: &str = "lines_of_goroutines_that_move_are_whole_and_all_there";
    if let Some(mode) = env::var_os(CHILD) {
        let scheduler = scheduler(2, mode == "true");
        let watch = Watch::start(&scheduler, Duration::from_micros(100));
        let start = |writer| scheduler.spawn(move || write_lines(writer)).expect("it is open");
        let writers: Vec<_> = (0..WRITERS).map(start).collect();
        let threads = writers.into_iter().map(|writer| writer.join().expect("no panic"));
        let moved = threads.filter(|threads| threads.len() > 1).count();
        watch.stop();
        assert_eq!(moved > 0, scheduler.mode().is_own_tls(), "{moved} moved");
        assert_eq!(scheduler.shutdown(None).left, []);
        return;
    }
    for mode in MODES {
        let child = child(NAME, mode);
        let said = [&child.stdout, &child.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        assert!(child.status.success(), "{}", said[1]);
        for text in said {
            let mut lines: Vec<_> = text.lines().filter(|line| line.contains(['<', '>'])).collect();
            let all =
                (0..WRITERS).flat_map(|writer| (0..LINES).map(move |number| line(writer, number)));
            let mut expected: Vec<_> = all.collect();
            lines.sort_unstable();
            expected.sort_unstable();
            assert_eq!(lines, expected);
        }
    }
}

extern "C" fn at_exit() {
    eprintln!("at exit");
}

/// A thread-local that says when it is dropped.
struct Last;

impl Drop for Last {
    fn drop(&mut self) {
        eprintln!("thread-local dropped");
    }
}

#[test]
fn exit_in_a_goroutine_ends_the_process_as_a_thread_does() {
    thread_local!(static LAST: Last = const { Last });
    if let Some(mode) = env::var_os(CHILD) {
        let scheduler = scheduler(2, mode == "true");
        let _watch = Watch::start(&scheduler, Duration::from_micros(100));
        let _beside = scheduler.spawn(|| {
            loop {
                yield_now();
            }
        });
        let ends = scheduler.spawn(|| {
            LAST.with(|_| ());
            // SAFETY: the handler does what any code may.
            assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
            (0..10).for_each(|_| yield_now());
            std::process::exit(7);
        });
        let _ = ends.expect("it is open").join();
        unreachable!("the process has ended");
    }
    for mode in MODES {
        let child = child("exit_in_a_goroutine_ends_the_process_as_a_thread_does", mode);
        let said = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.code(), Some(7), "{said}");
        assert_eq!(said, "thread-local dropped\nat exit\n");
    }
}

#[test]
fn abort_in_a_goroutine_ends_the_process() {
    if let Some(mode) = env::var_os(CHILD) {
        let scheduler = scheduler(2, mode == "true");
        let aborts = scheduler.spawn(|| {
            (0..10).for_each(|_| yield_now());
            std::process::abort();
        });
        let _ = aborts.expect("it is open").join();
        unreachable!("the process has ended");
    }
    for mode in MODES {
        assert_eq!(abort_of("abort_in_a_goroutine_ends_the_process", mode), "");
    }
}

#[test]
fn a_forked_child_allocates_and_enters_without_a_p() {
    in_both_modes(2, |scheduler| {
        let child = scheduler.spawn(|| {
            succeeds(|| {
                let text = format!("{:?}", vec![1, 2, 3]);
                text.len() == 9 && enter().proc_index().is_none()
            })
        });
        assert!(child.expect("it is open").join().expect("no panic"));
    });
}

/// As by a handler of a signal, which may interrupt whatever there is.
#[test]
fn what_was_entered_before_a_fork_is_left_in_the_child() {
    in_both_modes(1, |scheduler| {
        let goroutine = scheduler.spawn(forks_inside).expect("it is open").join();
        assert!(goroutine.expect("no panic") && forks_inside());
    });
}

fn forks_inside() -> bool {
    let entered = Cell::new(Some(enter()));
    let inner = Cell::new(Some(enter()));
    let leaves = || {
        drop((inner.take(), entered.take()));
        enter().proc_index().is_none()
    };
    succeeds(leaves)
}

/// Whether `f` says so in a forked child.
fn succeeds(f: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child is one thread; it calls `f`, and exits.
    match unsafe { libc::fork() } {
        0 => {
            let status = if f() { 42 } else { 1 };
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(status) }
        }
        child => {
            let mut status = 0;
            // SAFETY: waits for the child just made.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 42
        }
    }
}

/// Whether the kernel has guards inside of a mapping (`MADV_GUARD_INSTALL`).
fn has_light_guards() -> bool {
    let page = || {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping touches nobody's memory.
        unsafe { libc::mmap(null_mut(), 4096, libc::PROT_READ, flags, -1, 0) }
    };
    // SAFETY: a page of our own, or an address that is refused.
    unsafe { libc::madvise(page(), 4096, 102) == 0 }
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").expect("there is a /proc").lines().count()
}

#[test]
fn with_guards_inside_of_mappings_thousands_of_goroutines_wait_in_a_few() {
    const GOROUTINES: usize = 20_000;
    // Nobody watches: none may be interrupted with a lock in hand, nor share one with others.
    let preemption = Preemption::Cooperative;
    let scheduler = common::with(Config { procs: 2, preemption, ..Config::default() });
    if has_light_guards() && scheduler.mode().is_own_tls() {
        let before = mappings();
        let start = |waiter: &Arc<OnceLock<Waiter>>| {
            let waiter = Arc::clone(waiter);
            let waits = move || {
                assert!(waiter.set(park::current()).is_ok(), "told once");
                park::park(WaitReason::Park);
            };
            scheduler.spawn(waits).expect("it is open")
        };
        let waiters: Vec<_> = (0..GOROUTINES).map(|_| Arc::default()).collect();
        let all: Vec<_> = waiters.iter().map(start).collect();
        while waiters.iter().any(|waiter| waiter.get().is_none()) {
            std::thread::yield_now();
        }
        let more = mappings().saturating_sub(before);
        assert!(more < GOROUTINES / 100, "{more} more mappings");
        waiters.iter().filter_map(|waiter| waiter.get()).for_each(Waiter::unpark);
        all.into_iter().for_each(|one| one.join().expect("no panic"));
    }
    assert_eq!(scheduler.shutdown(None).left, []);
}
