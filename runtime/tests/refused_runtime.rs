//! A runtime that cannot be made, for want of a thread, of its signal or of memory for the collected heap, leaves none of
//! its threads.
//!
//! Processes of its own, whose `pthread_create` and whose global allocator refuse what they are told to, and which
//! count who runs.

mod again;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

use again::again;
use runtime::{BuildError, Builder, gc};

type Main = extern "C" fn(*mut c_void) -> *mut c_void;
type Create = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const libc::pthread_attr_t,
    Main,
    *mut c_void,
) -> c_int;

/// Threads that run, or are about to.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// How many threads the caller may start before one is refused.
    static GRANTED: Cell<usize> = const { Cell::new(usize::MAX) };
    /// How many requests for memory the caller may make, once it may start no more threads, before one is refused.
    static FUNDED: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The system's allocator, but for one request.
struct Choosy;

// SAFETY: no memory, or what the system's allocator gives, whose contract is the same.
unsafe impl GlobalAlloc for Choosy {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if GRANTED.get() == 0 {
            let funded = FUNDED.get();
            FUNDED.set(funded.wrapping_sub(1));
            if funded == 0 {
                return null_mut();
            }
        }
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Choosy = Choosy;

/// A thread's main function and its argument.
struct Life(Main, *mut c_void);

extern "C" fn live(life: *mut c_void) -> *mut c_void {
    // SAFETY: made from a box in `pthread_create`, for this thread.
    let life = unsafe { Box::from_raw(life.cast::<Life>()) };
    let outcome = (life.0)(life.1);
    RUNNING.fetch_sub(1, Ordering::Relaxed);
    outcome
}

/// In the place of libc's, which it calls.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    main: Main,
    argument: *mut c_void,
) -> c_int {
    let granted = GRANTED.get();
    if granted == 0 {
        return libc::EAGAIN;
    }
    // SAFETY: libc has a function of this name and type.
    let create: Create =
        unsafe { transmute(libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr())) };
    let life = Box::into_raw(Box::new(Life(main, argument)));
    RUNNING.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the caller's arguments, but for a main function that gets the box.
    let failed = unsafe { create(thread, attributes, live, life.cast()) };
    if failed != 0 {
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: there is no thread that has it.
        drop(unsafe { Box::from_raw(life) });
    }
    GRANTED.set(granted - 1);
    failed
}

/// Says how many requests for memory are granted.
const FUNDED_BY: &str = "REFUSED_RUNTIME_FUNDED";

fn builder() -> Builder {
    Builder::new().procs(2).dump_on(libc::SIGUSR1)
}

/// Makes a runtime by so many threads, or less. Without the last of them, or with it and refused a request for memory
/// after `funded` others, it cannot be made.
fn build(builder: Builder, granted: usize, funded: usize) -> Result<(), BuildError> {
    let before = RUNNING.load(Ordering::Relaxed);
    FUNDED.set(funded);
    GRANTED.set(granted);
    let built = builder.build();
    GRANTED.set(usize::MAX);
    if built.is_err() {
        assert_eq!(RUNNING.load(Ordering::Relaxed), before, "after {granted}, {funded}: {built:?}");
    }
    built.map(drop)
}

/// How many threads a runtime needs. The last of them is the dumper.
fn threads() -> usize {
    let unheard = build(builder().dump_on(libc::SIGKILL), usize::MAX, usize::MAX);
    assert!(matches!(unheard, Err(BuildError::Signal(_))), "{unheard:?}");
    // What is probed once for the process is known from here on.
    let lacks_dumper = |granted: &usize| {
        let refused = build(builder(), *granted, usize::MAX).expect_err("a thread is missing");
        matches!(refused, BuildError::Thread { name: "dumper", .. })
    };
    1 + (0..).find(lacks_dumper).expect("it is the last")
}

/// Refused a request for memory, it is made at the next attempt. Exits with 1 if it was made at the first.
#[test]
#[ignore = "run by the test below"]
fn made_at_the_second_attempt() {
    let funded = std::env::var(FUNDED_BY).expect("set by the test below");
    let refused = build(builder(), threads(), funded.parse().expect("a number"));
    let rt = builder().build().expect("there is memory now");
    rt.run(gc::collect).expect("the heap is whole");
    drop(rt);
    match refused {
        Ok(()) => std::process::exit(1),
        Err(error) => assert!(matches!(error, BuildError::Heap(gc::Error::Memory)), "{error:?}"),
    }
}

#[test]
fn a_runtime_that_cannot_be_made_leaves_no_thread() {
    let needed = threads();
    // There is no heap yet.
    let without_memory = |f: fn() -> Option<gc::Error>| {
        FUNDED.set(0);
        GRANTED.set(0);
        let refused = f();
        GRANTED.set(usize::MAX);
        assert_eq!(refused, Some(gc::Error::Memory));
    };
    without_memory(|| gc::try_enter().err());
    without_memory(|| gc::collect().err());
    build(builder(), needed, usize::MAX).expect("threads and stacks");
    let attempt = |funded: &usize| {
        let attempt =
            again("made_at_the_second_attempt").env(FUNDED_BY, funded.to_string()).output();
        let attempt = attempt.expect("it starts");
        let refused = attempt.status.success();
        assert!(refused || attempt.status.code() == Some(1), "after {funded}: {attempt:?}");
        refused
    };
    // Room for the runtime, the heap and its parts, what it calls, the pacer.
    let requests = (0..).take_while(attempt).count();
    assert!(requests > 6, "the heap asks for more than {requests}");
}
