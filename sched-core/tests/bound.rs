//! Goroutines that go on on one thread only: those that have locked it, and those that are preempted
//! where they stand.

mod common;

use std::{
    collections::HashSet,
    hint::{black_box, spin_loop},
    mem::{forget, zeroed},
    ptr::null_mut,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use common::Watch;
use sched_core::{
    Config, OsThreadLock, Preemption, Scheduler, Status, current, lock_os_thread,
    park::{self, WaitReason},
    yield_now,
};

const SLICE: Duration = Duration::from_micros(100);

fn tid() -> i32 {
    // SAFETY: no memory is passed.
    unsafe { libc::gettid() }
}

/// A watched scheduler for `body`. Where goroutines have threads of their own, binding is nothing new.
fn with(procs: usize, preemption: Preemption, body: impl FnOnce(&Scheduler)) {
    let scheduler = common::with(Config { procs, preemption, ..Config::default() });
    if !scheduler.mode().is_own_tls() {
        return;
    }
    let watch = Watch::start(&scheduler, SLICE);
    body(&scheduler);
    watch.stop();
    assert_eq!(scheduler.shutdown(None).left, []);
}

/// Spins until `stop`, and gives the threads that it was seen on.
fn spins(stop: &Arc<AtomicBool>) -> impl FnOnce() -> HashSet<i32> + Send + 'static {
    let stop = Arc::clone(stop);
    move || {
        let mut seen = HashSet::from([tid()]);
        while !stop.load(Ordering::Relaxed) {
            seen.insert(tid());
        }
        seen
    }
}

#[test]
fn a_loop_that_gives_way_where_it_stands_keeps_its_thread() {
    with(1, Preemption::ParkThread, |scheduler| {
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(AtomicUsize::new(0));
        let hogs = [(); 3].map(|()| {
            let (begun, spins) = (Arc::clone(&begun), spins(&stop));
            let hog = move || {
                begun.fetch_add(1, Ordering::Relaxed);
                spins()
            };
            scheduler.spawn(hog).expect("open")
        });
        // There is one P: these run only if the loops lose it. One that was taken for blocked computes on until
        // it is interrupted.
        let mut others = 0;
        while others < 20 || begun.load(Ordering::Relaxed) < 3 || scheduler.stats().stays == 0 {
            scheduler.spawn(|| ()).expect("open").join().expect("no panic");
            others += 1;
        }
        stop.store(true, Ordering::Relaxed);
        let threads = hogs.map(|hog| hog.join().expect("no panic"));
        assert!(threads.iter().all(|seen| seen.len() == 1), "{threads:?}");
        assert_eq!(threads.iter().flatten().collect::<HashSet<_>>().len(), 3, "each has its own");
        let stats = scheduler.stats();
        assert!(stats.stays <= stats.preemptions, "{stats:?}");
    });
}

#[test]
fn one_that_stays_is_runnable_in_the_list() {
    with(1, Preemption::ParkThread, |scheduler| {
        let stop = Arc::new(AtomicBool::new(false));
        let hogs = [(); 2].map(|()| scheduler.spawn(spins(&stop)).expect("open"));
        while scheduler.stats().stays < 10 {
            std::thread::yield_now();
        }
        let one_each =
            |status: &[Status]| matches!(status, [Status::Running { .. }, Status::Runnable]);
        loop {
            let mut all: Vec<_> = scheduler.goroutines().iter().map(|one| one.status).collect();
            all.sort_by_key(|status| *status == Status::Runnable);
            if one_each(&all) {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        hogs.into_iter().for_each(|hog| drop(hog.join().expect("no panic")));
    });
}

/// Calls `f` with less than what an injected call needs left of the stack.
#[inline(never)]
fn at_the_end_of_the_stack(end: usize, f: &mut dyn FnMut()) {
    let frame = black_box([0u8; 512]);
    let here = frame.as_ptr() as usize;
    if here - end < sched_core::preempt::ROOM / 2 {
        f()
    } else {
        at_the_end_of_the_stack(end, f)
    }
    black_box(frame);
}

#[test]
fn with_little_stack_left_it_is_preempted_where_it_stands() {
    with(1, Preemption::Inject, |scheduler| {
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, slot) = (Arc::clone(&stop), scheduler.config().stack_bytes);
        let hog = scheduler.spawn(move || {
            // The slot is aligned to its size; its lowest page is the guard.
            let end = (&raw const slot as usize / slot) * slot + 4096;
            at_the_end_of_the_stack(end, &mut || {
                while !seen.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
        });
        while scheduler.stats().stays == 0 {
            scheduler.spawn(|| ()).expect("open").join().expect("no panic");
        }
        stop.store(true, Ordering::Relaxed);
        hog.expect("open").join().expect("no panic");
    });
}

#[test]
fn a_goroutine_with_a_signal_mask_of_its_own_is_preempted_where_it_stands() {
    with(1, Preemption::Inject, |scheduler| {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let hog = scheduler.spawn(move || {
            let _lock = lock_os_thread();
            // SAFETY: plain data; the mask is put back below, on the same thread.
            let before = unsafe {
                let (mut set, mut before) = (zeroed(), zeroed());
                libc::sigemptyset(&mut set);
                libc::sigaddset(&mut set, libc::SIGUSR2);
                assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut before), 0);
                before
            };
            while !seen.load(Ordering::Relaxed) {
                spin_loop();
            }
            // SAFETY: as above.
            unsafe {
                let mut now = zeroed();
                libc::pthread_sigmask(libc::SIG_SETMASK, &before, &mut now);
                libc::sigismember(&now, libc::SIGUSR2)
            }
        });
        while scheduler.stats().stays == 0 {
            scheduler.spawn(|| ()).expect("open").join().expect("no panic");
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(hog.expect("open").join().expect("no panic"), 1, "the mask was lost");
    });
}

#[test]
fn a_goroutine_stays_on_the_thread_that_it_has_locked() {
    for preemption in [Preemption::Cooperative, Preemption::Inject, Preemption::ParkThread] {
        with(2, preemption, |scheduler| {
            let (began, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let locked = [(); 3].map(|()| {
                let (began, done) = (Arc::clone(&began), Arc::clone(&done));
                let body = move || {
                    let _lock = lock_os_thread();
                    let own = tid();
                    began.fetch_add(1, Ordering::Relaxed);
                    for round in 0..200 {
                        match round % 3 {
                            0 => yield_now(),
                            1 => {
                                let waker = park::current();
                                let here = sched_core::current().expect("on a goroutine");
                                here.spawn(move || waker.unpark()).expect("open");
                                park::park(WaitReason::Park);
                            }
                            _ => (0..20_000).for_each(|_| spin_loop()),
                        }
                        assert_eq!(tid(), own);
                    }
                    // Whoever ends lets go of a thread that another could begin on.
                    while began.load(Ordering::Relaxed) < 3 {
                        yield_now();
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                    own
                };
                scheduler.spawn(body).expect("open")
            });
            while done.load(Ordering::Relaxed) < 3 {
                scheduler.spawn(|| ()).expect("open").join().expect("no panic");
            }
            let locked = locked.map(|one| one.join().expect("no panic"));
            assert_eq!(HashSet::from(locked).len(), 3);
        });
    }
}

#[test]
fn nobody_else_is_seen_on_a_locked_thread() {
    with(2, Preemption::Inject, |scheduler| {
        let (tell, told) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let locked = scheduler.spawn(move || {
            let lock = lock_os_thread();
            let inner: OsThreadLock = lock_os_thread();
            drop(inner);
            tell.send(tid()).expect("the test listens");
            while !seen.load(Ordering::Relaxed) {
                yield_now();
            }
            drop(lock);
        });
        let taboo = told.recv().expect("it begins");
        for _ in 0..200 {
            let other = scheduler.spawn(tid).expect("open").join().expect("no panic");
            assert_ne!(other, taboo);
        }
        stop.store(true, Ordering::Relaxed);
        locked.expect("open").join().expect("no panic");
    });
}

#[test]
fn a_thread_whose_lock_was_forgotten_is_used_no_more() {
    with(1, Preemption::Inject, |scheduler| {
        let lost = scheduler.spawn(|| {
            forget(lock_os_thread());
            tid()
        });
        let lost = lost.expect("open").join().expect("no panic");
        for _ in 0..100 {
            let other = scheduler.spawn(tid).expect("open").join().expect("no panic");
            assert_ne!(other, lost);
        }
    });
}

#[test]
fn on_a_plain_thread_and_in_thread_mode_a_lock_is_for_nothing() {
    drop(lock_os_thread());
    let scheduler = common::scheduler(1, true);
    let handle = scheduler.spawn(|| {
        let own = tid();
        let _lock = lock_os_thread();
        yield_now();
        own == tid()
    });
    assert!(handle.expect("open").join().expect("no panic"));
    assert_eq!(scheduler.shutdown(None).left, []);
}

/// A profiler's handler, installed by somebody who knows nothing of goroutines: no `SA_ONSTACK`, so it
/// runs on goroutines' stacks, and takes its time.
mod foreign {
    use super::*;

    pub(super) static HITS: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn works(_: libc::c_int) {
        HITS.fetch_add(1, Ordering::Relaxed);
        (0..5_000).for_each(|_| spin_loop());
    }

    pub(super) fn install() {
        // SAFETY: the handler counts and spins.
        unsafe {
            let mut action = zeroed::<libc::sigaction>();
            action.sa_sigaction = works as extern "C" fn(libc::c_int) as usize;
            action.sa_flags = libc::SA_RESTART;
            assert_eq!(libc::sigaction(libc::SIGPROF, &action, null_mut()), 0);
        }
    }

    /// Has the calling thread interrupted a thousand times a second, for ever.
    pub(super) fn interrupt_this_thread() {
        // SAFETY: plain data of the kernel's; the timer ends with the process.
        unsafe {
            let mut event = zeroed::<libc::sigevent>();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGPROF;
            event.sigev_notify_thread_id = tid();
            let mut timer = null_mut();
            assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer), 0);
            let period = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
            let every = libc::itimerspec { it_interval: period, it_value: period };
            assert_eq!(libc::timer_settime(timer, 0, &every, null_mut()), 0);
        }
    }
}

/// What a thread must keep: base and size of its alternate stack, and its mask.
fn of_this_thread() -> (usize, usize, u64) {
    // SAFETY: plain data; asking changes nothing.
    unsafe {
        let mut stack = zeroed::<libc::stack_t>();
        assert_eq!(libc::sigaltstack(null_mut(), &mut stack), 0);
        (stack.ss_sp as usize, stack.ss_size, mask())
    }
}

/// The calling thread's mask, of which libc knows 64 signals.
fn mask() -> u64 {
    // SAFETY: plain data; asking changes nothing.
    unsafe {
        let mut mask = zeroed::<libc::sigset_t>();
        libc::pthread_sigmask(libc::SIG_BLOCK, null_mut(), &mut mask);
        (&raw const mask).cast::<u64>().read()
    }
}

/// 400 rounds, until preemptions have come in the middle of the handler, and for so long as `FOREIGN_SECONDS` says.
#[test]
fn foreign_handlers_leave_every_thread_its_signal_stack_and_mask() {
    const ROUNDS: usize = 400;
    let seconds = std::env::var("FOREIGN_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    // Nobody has little stack here, so who stays in our handler was interrupted in the foreign one.
    let met = || current().is_some_and(|scheduler| scheduler.stats().stays > 0);
    let enough =
        move || met() && foreign::HITS.load(Ordering::Relaxed) > 100 && Instant::now() >= end;
    foreign::install();
    // Ms are started by threads that were started by this one, and inherit its mask.
    let base = mask();
    with(2, Preemption::Inject, |scheduler| {
        let known = Arc::new(Mutex::new(std::collections::HashMap::new()));
        let goroutines: Vec<_> = (0..8)
            .map(|_| {
                let known = Arc::clone(&known);
                let body = move || {
                    let mut rounds = 0;
                    while rounds < ROUNDS || !enough() {
                        rounds += 1;
                        (0..30_000).for_each(|_| spin_loop());
                        let _lock = lock_os_thread();
                        let (tid, now) = (tid(), of_this_thread());
                        assert_eq!(now.2, base, "the mask of thread {tid}");
                        let before = known.lock().expect("no panic").insert(tid, now);
                        if before.is_none() {
                            foreign::interrupt_this_thread();
                        }
                        assert_eq!(before.unwrap_or(now), now, "thread {tid}");
                    }
                };
                scheduler.spawn(body).expect("open")
            })
            .collect();
        goroutines.into_iter().for_each(|one| one.join().expect("no panic"));
        let known = known.lock().expect("no panic");
        let stacks: HashSet<_> = known.values().map(|(base, ..)| *base).collect();
        assert_eq!(stacks.len(), known.len(), "two threads have one signal stack");
    });
}
