//! A runtime that cannot be made, for want of a thread or of its signal, leaves none of its threads.
//!
//! A process of its own, whose `pthread_create` refuses what it is told to, and counts who runs.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::transmute;
use std::sync::atomic::{AtomicUsize, Ordering};

use runtime::{BuildError, Builder};

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
}

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
    GRANTED.set(granted - 1);
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
    failed
}

#[test]
fn a_runtime_that_cannot_be_made_leaves_no_thread() {
    let builder = || Builder::new().procs(2).dump_on(libc::SIGUSR1);
    let build = |builder: Builder, granted| {
        GRANTED.set(granted);
        let built = builder.build();
        GRANTED.set(usize::MAX);
        built
    };
    // What is probed once for the process is known after this.
    drop(builder().build().expect("threads and stacks"));
    let before = RUNNING.load(Ordering::Relaxed);
    let refused = |builder, granted| {
        let refused = build(builder, granted).err();
        if refused.is_some() {
            assert_eq!(RUNNING.load(Ordering::Relaxed), before, "after {granted}: {refused:?}");
        }
        refused
    };
    let last = (0..).map_while(|granted| refused(builder(), granted)).last();
    assert!(matches!(last, Some(BuildError::Thread { name: "dumper", .. })), "{last:?}");
    let unheard = refused(builder().dump_on(libc::SIGKILL), usize::MAX);
    assert!(matches!(unheard, Some(BuildError::Signal(_))), "{unheard:?}");
}
