//! A driver of two contexts: no scheduler, just "run it until it yields", by hand, on any thread.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::fmt::Write;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex};

use sched_core::context::{Context, ThreadId, switch};
use sched_core::entry::Fence;
use sched_core::preempt::{Glue, MThread, Registers, Stack, Stderr, install};
use sched_core::stack::{Slot, Slots, SlotsConfig};
use sched_core::tls::{Mode, Surplus, Words, probe, with_words};

use crate::relay;

/// A stock with one way to run goroutines.
pub(crate) struct Driver {
    pub(crate) slots: Slots,
    mode: Mode,
    /// After the slots: words of goroutines' threads point here until they are joined.
    workers: Mutex<Vec<Arc<MThread>>>,
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
    /// What its next preemption does for it.
    wish: Cell<Option<Wish>>,
    own: Cell<*const Context>,
    stack: Range<usize>,
    /// Whether it goes on on the kernel thread of whoever resumes it.
    moves: bool,
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

/// Where a goroutine can be preempted and go on elsewhere, or in its handler on a thread of its own: on
/// machines without injected calls, the latter alone.
pub(crate) fn in_modes_that_preempt(test: impl Fn(&Driver)) {
    if cfg!(target_arch = "x86_64") {
        in_both_modes(test);
    } else {
        test(&Driver::new(threads()));
    }
}

impl Driver {
    pub(crate) fn new(mode: Mode) -> Driver {
        Driver {
            slots: Slots::new(SlotsConfig::default(), mode),
            mode,
            workers: Mutex::new(Vec::new()),
        }
    }

    /// A goroutine that has not begun.
    pub(crate) fn task(&self, body: impl FnOnce() + Send + 'static) -> Task {
        let mut slot = loop {
            // Another thread may take the one that is made here.
            match self.slots.take() {
                Some(slot) => break slot,
                None => _ = self.slots.prepare(1).expect("a slot can be made"),
            }
        };
        let shared = Box::new(Shared {
            body: Cell::new(Some(Box::new(body))),
            home: AtomicPtr::new(ptr::null_mut()),
            ended: Cell::new(false),
            panicked: Cell::new(false),
            wish: Cell::new(None),
            own: Cell::new(slot.context()),
            stack: slot.bounds(),
            moves: self.mode.is_own_tls(),
        });
        let argument = ptr::from_ref(&*shared).cast_mut().cast();
        // SAFETY: the shared part outlives the task; the functions know it.
        unsafe { slot.arm(body_of, finish_of, argument) };
        Task { slot: Some(slot), shared }
    }

    /// Runs the task until it yields or ends: whether it has ended.
    pub(crate) fn resume(&self, task: &mut Task) -> bool {
        let m = with_words(Words::machine);
        let home = Context::of_thread(self.mode);
        let slot = task.slot.as_ref().expect("the task has not ended");
        task.shared.home.store(ptr::from_ref(&home).cast_mut(), Ordering::Release);
        let shared = ptr::from_ref(&*task.shared).cast_mut().cast();
        // SAFETY: the task is suspended; the words of a driver hold workers and shared parts.
        unsafe { slot.words().board(m, shared) };
        // SAFETY: this is the thread of `home`; the task is suspended, and ours alone.
        unsafe { switch(&home, slot.context()) };
        let ended = task.shared.ended.get();
        if ended {
            let slot = task.slot.take().expect("it had one until now");
            // SAFETY: it is from this stock, and its goroutine came here by its last switch.
            unsafe { self.slots.give(slot) };
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

/// Says to a goroutine's body that it has been preempted often enough.
#[derive(Clone, Default)]
pub(crate) struct Enough(Arc<AtomicBool>);

impl Enough {
    pub(crate) fn yet(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    #[cfg(target_arch = "x86_64")]
    pub(crate) fn flag(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }
}

/// A goroutine's wish for the backtrace of its next preemption.
#[derive(Clone, Default)]
pub(crate) struct Wish {
    backtrace: Arc<Mutex<String>>,
    granted: Enough,
}

impl Wish {
    /// Waits for the preemption. From here on it finds the caller's frame.
    #[inline(always)]
    pub(crate) fn wait(&self) {
        self.make();
        let mut count = 0u64;
        while !self.granted.yet() {
            count = std::hint::black_box(count + 1);
        }
    }

    #[inline(never)]
    fn make(&self) {
        let wish = self.clone();
        // Inside: a preemption finds all of it or nothing.
        come_in();
        // SAFETY: `resume` stored it; the goroutine is its only user until it is preempted.
        unsafe { (*running()).wish.set(Some(wish)) };
        go_out();
    }
}

impl Driver {
    pub(crate) fn install(&self) {
        // SAFETY: the driver's words hold workers and shared parts only.
        unsafe { install(GLUE, self.mode) }.expect("handlers can be installed");
    }

    /// Runs a goroutine that waits, in `body`, to be preempted: the yield's backtrace.
    pub(crate) fn run_preempted_with_backtrace(
        &self,
        body: impl FnOnce(&Wish) + Send + 'static,
    ) -> String {
        let wish = Wish::default();
        self.install();
        let waits = wish.clone();
        let mut task = self.task(move || body(&waits));
        relay::run(self, &mut task, u32::MAX, |_| ());
        Mutex::into_inner(Arc::into_inner(wish.backtrace).expect("the goroutine has ended"))
            .expect("no panic")
    }

    /// Runs a goroutine and preempts it `times` times, each time on to another thread; then tells
    /// it that it is enough, and runs it to its end.
    pub(crate) fn run_preempted(&self, times: u32, body: impl FnOnce(&Enough) + Send + 'static) {
        self.install();
        let enough = Enough::default();
        let told = enough.clone();
        let mut task = self.task(move || body(&told));
        let steps = relay::run(self, &mut task, times, |steps| {
            enough.0.store(steps >= times, Ordering::Relaxed);
        });
        assert!(!task.panicked(), "the goroutine panicked");
        assert!(steps >= times, "it ended by itself after {steps} preemptions");
    }

    /// Makes this thread one that runs goroutines and can be interrupted.
    pub(crate) fn worker(&self) -> Arc<MThread> {
        let worker = Arc::new(MThread::of_this_thread(self.mode));
        let m = Arc::as_ptr(&worker).cast_mut();
        // SAFETY: this thread's own; the driver keeps the worker.
        with_words(|words| unsafe { words.board(m.cast(), ptr::null_mut()) });
        self.workers.lock().expect("nobody panics with it").push(worker.clone());
        worker
    }

    /// Runs a goroutine to its end on an M.
    pub(crate) fn run_with_worker(&self, body: impl FnOnce() + Send + 'static) {
        self.install();
        let worker = self.worker();
        self.run(body);
        with_words(|words| {
            assert_eq!(words.machine().cast_const(), Arc::as_ptr(&worker).cast());
            // SAFETY: this thread's own.
            unsafe { words.board(ptr::null_mut(), ptr::null_mut()) };
        });
    }
}

/// What the handlers ask of this driver.
const GLUE: Glue = Glue {
    thread: |m| m.cast(),
    stack: |g| {
        // SAFETY: words hold shared parts of tasks that have not ended.
        let shared = unsafe { &*g.cast::<Shared>() };
        Stack { bounds: shared.stack.clone(), movable: true }
    },
    yield_now: preempted,
    yield_here: preempted_here,
    overflow: |g| {
        // SAFETY: as above.
        let shared = unsafe { &*g.cast::<Shared>() };
        let _ = writeln!(Stderr, "goroutine at {:#x} has no stack left", shared.stack.start);
    },
};

impl Task {
    /// The kernel thread that runs the goroutine, where it has one of its own.
    pub(crate) fn thread(&self) -> Option<ThreadId> {
        self.slot.as_ref().and_then(|slot| slot.context().thread())
    }

    pub(crate) fn slot(&self) -> &Slot {
        self.slot.as_ref().expect("the task has not ended")
    }

    pub(crate) fn panicked(&self) -> bool {
        self.shared.panicked.get()
    }
}

/// Suspends the running goroutine.
pub(crate) fn yield_now() {
    come_in();
    // SAFETY: on a goroutine, inside.
    unsafe { go_home() };
    go_out();
}

/// The goroutine goes inside. Nobody asks it for anything.
fn come_in() {
    // SAFETY: the goroutine's own words; it is a driver's.
    let _ = with_words(|words| unsafe { words.return_inside(&Fence) });
}

fn go_out() {
    // SAFETY: as above; whatever it does next may be preempted.
    with_words(|words| unsafe { words.leave() });
}

/// Suspends the goroutine of [`Driver::run_migrating`], and makes sure that it goes on on another
/// kernel thread (own TLS), or on its own (thread mode).
pub(crate) fn hop() {
    // SAFETY: no memory is passed.
    let tid = || unsafe { libc::gettid() };
    let before = tid();
    yield_now();
    // SAFETY: `resume` stored it; this is the goroutine.
    let moves = unsafe { (*running()).moves };
    assert_eq!(tid() != before, moves, "the thread it runs on");
}

/// The shared part of the running goroutine.
fn running() -> *const Shared {
    with_words(Words::goroutine).cast::<Shared>()
}

/// The yield of a preempted goroutine. It may have been in the middle of `malloc`, so nothing in here
/// may allocate, not even by touching a thread-local with a destructor for the first time. Only a
/// goroutine that made a [`Wish`], and is known to be in its loop, is excepted.
unsafe extern "C" fn preempted() {
    // SAFETY: `resume` stored it; this is the goroutine.
    if let Some(wish) = unsafe { (*running()).wish.take() } {
        *wish.backtrace.lock().expect("no panic") = Backtrace::force_capture().to_string();
        wish.granted.0.store(true, Ordering::Relaxed);
    }
    // SAFETY: called by the mechanism, on a goroutine, inside.
    unsafe { go_home() };
}

/// The same in the handler. Nobody asks for a backtrace here.
unsafe fn preempted_here(_: Registers) {
    // SAFETY: as of `preempted`.
    unsafe { preempted() };
}

/// Switches to the thread that runs the goroutine.
unsafe extern "C" fn go_home() {
    let shared = running();
    // SAFETY: `resume` stored both; the home context waits in its `switch`.
    unsafe {
        let home = (*shared).home.load(Ordering::Acquire);
        switch(&*(*shared).own.get(), &*home);
    }
}

unsafe extern "C" fn body_of(argument: *mut ()) {
    // SAFETY: `task` passed it.
    let shared = unsafe { &*argument.cast::<Shared>() };
    let body = shared.body.take().expect("a task begins once");
    go_out();
    shared.panicked.set(catch_unwind(AssertUnwindSafe(body)).is_err());
}

unsafe extern "C" fn finish_of(argument: *mut ()) -> *const Context {
    come_in();
    // SAFETY: `task` passed it.
    let shared = unsafe { &*argument.cast::<Shared>() };
    shared.ended.set(true);
    shared.home.load(Ordering::Acquire)
}
