//! A process that may map no more (`RLIMIT_AS`): here it is the kernel that refuses stacks, threads and records.

mod common;

use std::{
    env, fs,
    process::Command,
    ptr::null_mut,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use common::MODES;
use sched_core::{
    Config, JoinHandle, Scheduler, SpawnError,
    park::{self, WaitReason, Waiter, park_until},
};

/// Set in a child whose address space is limited: which mode.
const CHILD: &str = "ADDRESS_SPACE_TEST_CHILD";

/// What it may map beyond what it has when it begins.
const ROOM: u64 = 64 << 20;

/// More goroutines than it ever starts.
const MANY: usize = 20_000;

#[test]
fn what_the_kernel_refuses_is_an_error_of_the_spawn_and_of_nobody_else() {
    const NAME: &str = "what_the_kernel_refuses_is_an_error_of_the_spawn_and_of_nobody_else";
    if let Some(mode) = env::var_os(CHILD) {
        return fill_the_address_space(mode == "true");
    }
    for mode in MODES {
        let child = Command::new(env::current_exe().expect("we run"))
            .args(["--exact", NAME, "--nocapture"])
            .env(CHILD, mode.to_string())
            .output()
            .expect("it runs");
        assert!(child.status.success(), "thread mode {mode}: {child:?}");
    }
}

fn fill_the_address_space(thread_mode: bool) {
    let scheduler = settled(thread_mode);
    let mut crowd = Crowd::new(&scheduler);
    let before = limit_to(mapped() + ROOM);
    let all = crowd.fill();
    assert!(all > 16, "{all} fit into {ROOM} bytes");
    for _ in 0..3 {
        crowd.replace_half();
    }
    // Now not even a page: what there is must do. libc asks for more for each thread, and may not get it.
    let rest = map_all();
    for _ in 0..3 {
        if thread_mode {
            crowd.end(crowd.all.len() / 2);
            crowd.fill();
        } else {
            crowd.replace_half();
        }
    }
    unmap(&rest);
    limit_to(before);
    wait_until("started again", || crowd.start().is_ok());
    crowd.end(crowd.all.len());
    assert_eq!(scheduler.shutdown(None).left, []);
}

/// A scheduler whose own threads have all begun: what such a thread asks for at its start, it must get.
fn settled(thread_mode: bool) -> Scheduler {
    let config = Config { procs: 1, spare_threads: 0, thread_mode, ..Config::default() };
    let scheduler = common::with(config);
    // The service thread makes its stack, the thread of the one P runs it, the timers' thread wakes it.
    let sleeps = || park_until(WaitReason::Sleep, Instant::now() + Duration::from_millis(1));
    let _ = scheduler.spawn(sleeps).expect("there is room").join().expect("no panic");
    scheduler
}

/// Goroutines that have begun, and wait. It asks for no memory itself while it grows.
struct Crowd<'a> {
    scheduler: &'a Scheduler,
    /// Where each says that it has begun.
    begun: Arc<[OnceLock<Waiter>]>,
    /// Of those that wait the number and the handle.
    all: Vec<(usize, JoinHandle<usize>)>,
    started: usize,
}

impl<'a> Crowd<'a> {
    fn new(scheduler: &'a Scheduler) -> Self {
        let begun = (0..MANY).map(|_| OnceLock::new()).collect();
        Self { scheduler, begun, all: Vec::with_capacity(MANY), started: 0 }
    }

    /// One more, which has begun if there is no error; or waits for a stack, if it was let in before the scheduler knew
    /// that there are no more.
    fn start(&mut self) -> Result<(), SpawnError> {
        let (number, begun) = (self.started, Arc::clone(&self.begun));
        let waits = move || {
            assert!(begun[number].set(park::current()).is_ok(), "it begins once");
            park::park(WaitReason::Park);
            number
        };
        let refusals = || self.scheduler.stats().stack_errors;
        let before = refusals();
        self.all.push((number, self.scheduler.spawn(waits)?));
        self.started += 1;
        // As long as it waits it is tried again.
        wait_until("begun", || self.has_begun(number) || refusals() > before + 1);
        Ok(())
    }

    fn has_begun(&self, number: usize) -> bool {
        self.begun[number].get().is_some()
    }

    /// As many more as there is memory for.
    fn fill(&mut self) -> usize {
        let before = self.all.len();
        loop {
            match self.start() {
                Ok(()) => {}
                Err(SpawnError::Stacks(_) | SpawnError::NoMemory) => {
                    return self.all.len() - before;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// The first so many go on, and end as they should.
    fn end(&mut self, count: usize) {
        for _ in 0..count {
            let (number, handle) = self.all.remove(0);
            wait_until("begun", || self.has_begun(number));
            self.begun[number].get().into_iter().for_each(Waiter::unpark);
            assert_eq!(handle.join().expect("no panic"), number);
        }
    }

    /// Half of them end, and others can begin in their place. One of those places may be for whoever waits.
    fn replace_half(&mut self) {
        let half = self.all.len() / 2;
        self.end(half);
        for _ in 1..half {
            // In thread mode the service thread has to start another thread on a stack before it is one again.
            wait_until("started again", || self.start().is_ok());
        }
        self.fill();
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "not {what}");
        thread::yield_now();
    }
}

/// Bytes of address space in use.
fn mapped() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").expect("there is a /proc");
    let pages: u64 = text.split(' ').next().expect("a line").parse().expect("a number");
    // SAFETY: asks for a number.
    pages * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}

/// Limits it to so many. The limit before.
fn limit_to(bytes: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a value of ours, which the kernel fills in and then reads.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_AS, &mut limit), 0);
        let before = limit.rlim_cur;
        limit.rlim_cur = bytes;
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &limit), 0);
        before
    }
}

/// Maps all that is left: where, and how much.
fn map_all() -> Vec<(*mut libc::c_void, usize)> {
    let mut pieces = Vec::with_capacity(1_000);
    let mut bytes = ROOM as usize;
    while bytes >= 4096 {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping touches nobody's memory.
        match unsafe { libc::mmap(null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) } {
            libc::MAP_FAILED => bytes /= 2,
            piece => pieces.push((piece, bytes)),
        }
    }
    pieces
}

fn unmap(pieces: &[(*mut libc::c_void, usize)]) {
    for &(piece, bytes) in pieces {
        // SAFETY: ours, and nobody uses it.
        assert_eq!(unsafe { libc::munmap(piece, bytes) }, 0);
    }
}
