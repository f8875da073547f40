//! A driver of two contexts: no scheduler, just "run it until it yields", by hand, on any thread.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use sched_core::context::{Context, switch};
use sched_core::entry::Fence;
use sched_core::stack::{Slot, Slots, SlotsConfig};
use sched_core::tls::{Mode, Surplus, probe, with_words};

/// A stock with one way to run goroutines.
pub(crate) struct Driver {
    pub(crate) slots: Slots,
    mode: Mode,
}

/// A goroutine of the driver's: suspended whenever this value is in somebody's hands.
pub(crate) struct Task {
    slot: Option<Slot>,
    shared: Box<Shared>,
}

/// What the goroutine and whoever runs it share.
struct Shared {
    body: Cell<Option<Box<dyn FnOnce() + Send>>>,
    /// The context of the thread that runs the goroutine.
    home: AtomicPtr<Context>,
    ended: Cell<bool>,
    panicked: Cell<bool>,
    own: Cell<*const Context>,
}

// SAFETY: a task is suspended while it is moved, and its closure is Send.
unsafe impl Send for Task {}

pub(crate) fn own_tls() -> Mode {
    probe(Surplus::Take)
}

pub(crate) fn threads() -> Mode {
    Mode::Threads { why: "asked for by a test" }
}

/// Every test runs in both modes; own TLS where it is to be had.
pub(crate) fn in_both_modes(test: impl Fn(&Driver)) {
    for mode in [own_tls(), threads()] {
        test(&Driver::new(mode));
    }
}

impl Driver {
    pub(crate) fn new(mode: Mode) -> Driver {
        Driver { slots: Slots::new(SlotsConfig::default(), mode), mode }
    }

    /// A goroutine that has not begun.
    pub(crate) fn task(&self, body: impl FnOnce() + Send + 'static) -> Task {
        if self.slots.stock() == 0 {
            self.slots.prepare(1).expect("a slot can be made");
        }
        let mut slot = self.slots.take().expect("a slot is in stock");
        let shared = Box::new(Shared {
            body: Cell::new(Some(Box::new(body))),
            home: AtomicPtr::new(ptr::null_mut()),
            ended: Cell::new(false),
            panicked: Cell::new(false),
            own: Cell::new(slot.context()),
        });
        let argument = ptr::from_ref(&*shared).cast_mut().cast();
        // SAFETY: the shared part outlives the task; the functions know it.
        unsafe { slot.arm(body_of, finish_of, argument) };
        Task { slot: Some(slot), shared }
    }

    /// Runs the task until it yields or ends: whether it has ended.
    pub(crate) fn resume(&self, task: &mut Task) -> bool {
        let home = Context::of_thread(self.mode);
        let slot = task.slot.as_ref().expect("the task has not ended");
        task.shared.home.store(ptr::from_ref(&home).cast_mut(), Ordering::Release);
        let shared = ptr::from_ref(&*task.shared).cast_mut().cast();
        slot.words().g.store(shared, Ordering::Relaxed);
        // SAFETY: this is the thread of `home`; the task is suspended, and ours alone.
        unsafe { switch(&home, slot.context()) };
        let ended = task.shared.ended.get();
        if ended {
            self.slots.give(task.slot.take().expect("it had one until now"));
        }
        ended
    }

    /// Runs a goroutine to its end, on this thread; passes its panic on.
    pub(crate) fn run(&self, body: impl FnOnce() + Send + 'static) {
        let mut task = self.task(body);
        while !self.resume(&mut task) {}
        assert!(!task.panicked(), "the goroutine panicked");
    }

    /// Runs a goroutine to its end, every step on another thread.
    pub(crate) fn run_migrating(&self, body: impl FnOnce() + Send + 'static) {
        let mut task = self.task(body);
        while !std::thread::scope(|s| s.spawn(|| self.resume(&mut task)).join().expect("resumes")) {
        }
        assert!(!task.panicked(), "the goroutine panicked");
    }
}

impl Task {
    pub(crate) fn panicked(&self) -> bool {
        self.shared.panicked.get()
    }
}

/// Suspends the running goroutine.
pub(crate) fn yield_now() {
    let shared = with_words(|words| {
        let _ = words.entry.return_inside(&Fence);
        words.g.load(Ordering::Relaxed).cast::<Shared>()
    });
    // SAFETY: `resume` stored both; the home context waits in its `switch`.
    unsafe {
        let home = (*shared).home.load(Ordering::Acquire);
        switch(&*(*shared).own.get(), &*home);
    }
    with_words(|words| words.entry.leave());
}

unsafe extern "C" fn body_of(argument: *mut ()) {
    // SAFETY: `task` passed it.
    let shared = unsafe { &*argument.cast::<Shared>() };
    let body = shared.body.take().expect("a task begins once");
    with_words(|words| words.entry.leave());
    shared.panicked.set(catch_unwind(AssertUnwindSafe(body)).is_err());
}

unsafe extern "C" fn finish_of(argument: *mut ()) -> *const Context {
    with_words(|words| {
        let _ = words.entry.return_inside(&Fence);
    });
    // SAFETY: `task` passed it.
    let shared = unsafe { &*argument.cast::<Shared>() };
    shared.ended.set(true);
    shared.home.load(Ordering::Acquire)
}
