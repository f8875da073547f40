//! The end of a scheduler: it waits, it reports, and it leaves nothing behind.
//!
//! One test: it counts the threads of the process.

mod common;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

use common::{MODES, scheduler};
use sched_core::{
    Config, Error, Hooks, Scheduler, current,
    entry::enter,
    park::{self, WaitReason},
    stack::{StackError, StackSource},
};

fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("/proc is mounted").count()
}

/// The kernel shows a thread for a moment after it was joined.
fn until_threads_are(count: usize) {
    while threads() != count {
        thread::yield_now();
    }
}

#[test]
fn ends_of_schedulers() {
    for mode in MODES {
        // The first one may leave what belongs to the process.
        assert_eq!(scheduler(1, mode).shutdown(None).left, []);
        let before = threads();
        no_thread_is_left(mode);
        until_threads_are(before);
        a_dropped_scheduler_ends_by_itself(mode);
        until_threads_are(before);
        who_does_not_end_is_reported(mode);
        until_threads_are(before);
        a_goroutine_may_shut_its_own_scheduler_down(mode);
        until_threads_are(before);
        goroutines_that_shut_down_do_not_wait_for_each_other(mode);
        until_threads_are(before);
        each_caller_has_its_own_deadline(mode);
        until_threads_are(before);
        a_scheduler_that_is_not_made_stops_the_ps_that_it_has_started(mode);
        until_threads_are(before);
        hooks_see_every_p_start_and_stop(mode);
        until_threads_are(before);
        none_is_freed_inside_another(mode);
        until_threads_are(before);
    }
}

fn no_thread_is_left(mode: bool) {
    let scheduler = scheduler(3, mode);
    let handles: Vec<_> =
        (0..50).map(|n| scheduler.spawn(move || n * 2).expect("it is open")).collect();
    // Beyond the end of the clock: no limit.
    assert_eq!(scheduler.shutdown(Some(Duration::MAX)).left, []);
    assert!(handles.iter().all(|handle| handle.is_finished()));
    let sum: i32 = handles.into_iter().map(|handle| handle.join().expect("no panic")).sum();
    assert_eq!(sum, 49 * 50);
}

fn a_dropped_scheduler_ends_by_itself(mode: bool) {
    let scheduler = scheduler(2, mode);
    let (tell, told) = mpsc::channel();
    let goroutine = move || {
        tell.send(park::current()).expect("the test listens");
        park::park(WaitReason::Park);
        current().map(|scheduler: Scheduler| scheduler.procs())
    };
    let handle = scheduler.spawn(goroutine).expect("it is open");
    let waiter = told.recv().expect("the goroutine runs");
    drop(scheduler);
    waiter.unpark();
    assert_eq!(handle.join().expect("no panic"), Some(2));
}

fn who_does_not_end_is_reported(mode: bool) {
    let scheduler = scheduler(2, mode);
    let (tell, told) = mpsc::channel();
    let goroutine = move || {
        tell.send(park::current()).expect("the test listens");
        park::park(WaitReason::Park);
    };
    let line = line!() + 1;
    let handle = scheduler.spawn(goroutine).expect("it is open");
    let waiter = told.recv().expect("the goroutine runs");
    let shutdown = scheduler.shutdown(Some(Duration::from_millis(1)));
    let [left] = shutdown.left[..] else { panic!("{shutdown}") };
    assert_eq!((left.id, left.creator), (handle.id(), None));
    assert_eq!((left.origin.file(), left.origin.line()), (file!(), line));
    assert!(shutdown.to_string().starts_with("1 goroutine is left:\n  goroutine 1 ["));
    waiter.unpark();
    assert_eq!(scheduler.shutdown(None).left, []);
    handle.join().expect("no panic");
}

fn a_goroutine_may_shut_its_own_scheduler_down(mode: bool) {
    let scheduler = scheduler(2, mode);
    let other = scheduler.spawn(|| 1).expect("it is open");
    let own = scheduler.spawn(|| current().map(|scheduler| scheduler.shutdown(None).left));
    let own = own.expect("it is open");
    let id = own.id();
    let left = own.join().expect("no panic").expect("it is on a goroutine");
    assert_eq!(left.iter().map(|one| one.id).collect::<Vec<_>>(), [id], "the caller itself");
    assert!(other.is_finished());
    assert_eq!(scheduler.shutdown(None).left, []);
}

fn goroutines_that_shut_down_do_not_wait_for_each_other(mode: bool) {
    let scheduler = scheduler(2, mode);
    let (tell, told) = mpsc::channel();
    let wait = move || {
        tell.send(park::current()).expect("the test listens");
        park::park(WaitReason::Park);
    };
    let worker = scheduler.spawn(wait.clone()).expect("it is open");
    let waiter = told.recv().expect("the goroutine runs");
    let closers = [(); 3].map(|()| {
        let wait = wait.clone();
        let closer = move || {
            wait();
            current().map(|scheduler| scheduler.shutdown(None).left)
        };
        scheduler.spawn(closer).expect("it is open")
    });
    (0..3).for_each(|_| told.recv().expect("the goroutine runs").unpark());
    let plain = {
        let scheduler = scheduler.clone();
        thread::spawn(move || scheduler.shutdown(None).left)
    };
    waiter.unpark();
    let ids = closers.each_ref().map(|closer| closer.id());
    for (closer, id) in closers.into_iter().zip(ids) {
        let left = closer.join().expect("no panic").expect("it is on a goroutine");
        assert!(left.iter().any(|one| one.id == id), "the caller itself: {left:?}");
        assert!(left.iter().all(|one| ids.contains(&one.id)), "closers only: {left:?}");
    }
    assert!(worker.is_finished());
    assert_eq!(plain.join().expect("no panic"), []);
    assert_eq!(scheduler.shutdown(None).left, []);
}

fn each_caller_has_its_own_deadline(mode: bool) {
    let scheduler = scheduler(2, mode);
    let (tell, told) = mpsc::channel();
    let goroutine = move || {
        tell.send(park::current()).expect("the test listens");
        park::park(WaitReason::Park);
    };
    let handle = scheduler.spawn(goroutine).expect("it is open");
    let waiter = told.recv().expect("the goroutine runs");
    let patient = {
        let scheduler = scheduler.clone();
        thread::spawn(move || scheduler.shutdown(None).left)
    };
    // Whichever of the two comes first.
    let left = scheduler.shutdown(Some(Duration::from_millis(1))).left;
    assert_eq!(left.iter().map(|one| one.id).collect::<Vec<_>>(), [handle.id()]);
    waiter.unpark();
    assert_eq!(patient.join().expect("no panic"), []);
    handle.join().expect("no panic");
}

#[derive(Default)]
struct Count {
    started: AtomicUsize,
    stopped: AtomicUsize,
}

impl Hooks for Count {
    fn proc_start(&self, index: usize) -> *mut () {
        self.started.fetch_add(1, Ordering::Relaxed);
        core::ptr::without_provenance_mut(index + 1)
    }

    fn proc_stop(&self, index: usize, local: *mut ()) {
        assert_eq!(local.addr(), index + 1);
        self.stopped.fetch_add(1, Ordering::Relaxed);
    }
}

fn hooks_see_every_p_start_and_stop(mode: bool) {
    let hooks = Arc::new(Count::default());
    let config = Config { procs: 3, thread_mode: mode, ..Config::default() };
    let scheduler = Scheduler::new(config, hooks.clone()).expect("the system gives threads");
    let local = scheduler.spawn(|| {
        let entered = sched_core::entry::enter();
        (entered.proc_local().addr(), entered.proc_index())
    });
    let (local, index) = local.expect("it is open").join().expect("no panic");
    assert_eq!(Some(local), index.map(|index| index + 1));
    assert_eq!(scheduler.shutdown(None).left, []);
    assert_eq!(hooks.started.load(Ordering::Relaxed), 3);
    assert_eq!(hooks.stopped.load(Ordering::Relaxed), 3);
}

/// A source without stacks.
struct Nothing;

// SAFETY: it gives none.
unsafe impl StackSource for Nothing {
    fn reserve(&self, _: usize) -> Result<NonNull<u8>, StackError> {
        Err(StackError::NoMemory)
    }

    unsafe fn guard(&self, _: NonNull<u8>) -> Result<(), StackError> {
        unreachable!("there is no slab")
    }

    unsafe fn discard(&self, _: NonNull<u8>, _: usize) {}

    unsafe fn release(&self, _: NonNull<u8>, _: usize, _: usize) {}
}

/// Hooks that start one P, and panic at the next. They tell of one that stops.
struct One(mpsc::Sender<usize>);

impl Hooks for One {
    fn proc_start(&self, index: usize) -> *mut () {
        assert_eq!(index, 0, "there is none for another one");
        core::ptr::null_mut()
    }

    fn proc_stop(&self, index: usize, _: *mut ()) {
        self.0.send(index).expect("the test listens");
    }
}

fn a_scheduler_that_is_not_made_stops_the_ps_that_it_has_started(mode: bool) {
    let hooks = Arc::new(Count::default());
    let config = || Config { procs: 3, thread_mode: mode, ..Config::default() };
    let refused = Scheduler::with_stacks(config(), hooks.clone(), Box::new(Nothing));
    assert!(matches!(refused, Err(Error::Stacks(StackError::NoMemory))), "{refused:?}");
    assert_eq!(hooks.started.load(Ordering::Relaxed), hooks.stopped.load(Ordering::Relaxed));

    let (tell, told) = mpsc::channel();
    let hooks = Arc::new(One(tell));
    assert!(catch_unwind(AssertUnwindSafe(|| Scheduler::new(config(), hooks))).is_err());
    assert_eq!(told.into_iter().collect::<Vec<_>>(), [0]);
}

/// Hooks that say on which thread they are dropped.
struct Dropped(mpsc::Sender<Option<String>>);

impl Hooks for Dropped {}

impl Drop for Dropped {
    fn drop(&mut self) {
        let name = thread::current().name().map(str::to_owned);
        self.0.send(name).expect("the test listens");
    }
}

/// The last name of a goroutine, which keeps its scheduler, is dropped inside the runtime of another one.
fn none_is_freed_inside_another(mode: bool) {
    let (tell, told) = mpsc::channel();
    let config = Config { procs: 1, thread_mode: mode, ..Config::default() };
    let first = Scheduler::new(config, Arc::new(Dropped(tell))).expect("threads");
    let waiter = first.spawn(park::current).expect("it is open").join().expect("no panic");
    assert_eq!(first.shutdown(None).left, []);
    drop(first);
    let other = scheduler(1, mode);
    let drops = other.spawn(move || {
        let _inside = enter();
        drop(waiter);
    });
    drops.expect("it is open").join().expect("no panic");
    assert_eq!(told.recv().expect("it is dropped").as_deref(), Some("sched-service"));
    assert_eq!(other.shutdown(None).left, []);
}
