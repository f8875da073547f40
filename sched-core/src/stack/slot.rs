//! One slot: everything a goroutine needs to run.
//!
//! ```text
//!  hi ─┬─────────────────┐
//!      │ Record          │  ours
//!      ├─────────────────┤
//!      │ struct pthread  │  own TLS: made by `tls::own::block`; thread mode: by pthread_create,
//!      │ TLS             │  which was given this memory as the thread's stack
//!      ├─────────────────┤  bounds().end
//!      │ stack           │
//!      ├─────────────────┤  bounds().start
//!      │ guard           │
//!  lo ─┴─────────────────┘
//! ```
//!
//! # A slot's life
//!
//! ```text
//!            prepare                take, arm              first switch
//!   (memory) ───────► in the stock ──────────► armed ─────────────────► running ⇄ suspended
//!                          ▲                                               │
//!                          │       give (by whoever runs after the last switch) ◄── finish
//! ```
//!
//! An armed slot holds three things: `body`, `finish` and their argument. The first switch to it
//! runs `body`; then the goroutine ends as a thread ends (destructors of thread-locals, of pthread
//! keys); then `finish`, inside the runtime, says which context goes on. So whatever `finish`
//! publishes, a join above all, is published after the last destructor.
//!
//! In thread mode the same happens on the slot's own kernel thread. Destructors are then libc's
//! doing at the thread's end, and `finish` is called by a pthread key that waits for the last round
//! of them. The slot's next goroutine needs a new thread, which `prepare` starts.

use core::cell::UnsafeCell;
use core::fmt;
use core::ops::Range;
use core::ptr::{NonNull, null};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use super::list::Bundle;
use crate::context::Context;
use crate::preempt::AltStack;
use crate::sync::Futex;
#[cfg(own_tls)]
use crate::tls::Layout;
use crate::tls::Words;

/// What a goroutine runs. It starts with `in_runtime` set, as the switch to it leaves it, and
/// returns with it clear.
pub type Body = unsafe extern "C" fn(argument: *mut ());

/// What a goroutine does at its very end: it starts with `in_runtime` clear, sets it, and returns
/// the context to go on with. The slot may be given back as soon as that context runs.
pub type Finish = unsafe extern "C" fn(argument: *mut ()) -> *const Context;

/// What an armed slot will run.
#[derive(Clone, Copy)]
pub(super) struct Errand {
    pub(super) body: Body,
    pub(super) finish: Finish,
    pub(super) argument: *mut (),
}

/// The part of a slot that is ours, at its top. Never unmapped before the [`Slots`](super::Slots).
pub(super) struct Record {
    pub(super) context: Context,
    pub(super) bounds: Range<usize>,
    /// Own TLS: the slot's block, as its thread pointer; constant.
    #[cfg(own_tls)]
    pub(super) block: Option<(&'static Layout, usize)>,
    /// The words of the slot's TLS block. Thread mode: written by each new thread before the slot
    /// goes to the stock.
    pub(super) words: AtomicPtr<Words>,
    /// The link of the list it lies in; accessed under the stock's lock, or by the holder of the P on
    /// whose shelf it lies.
    pub(super) next: UnsafeCell<*mut Record>,
    /// What came into the list together with it, if it was the first of those; likewise.
    pub(super) bundle: UnsafeCell<Option<Bundle>>,
    /// Written by `arm`, read by what runs on the slot; the switch orders them.
    pub(super) errand: UnsafeCell<Option<Errand>>,
    /// Thread mode: the slot's thread, if there is one; accessed under `prepare`'s lock.
    pub(super) thread: UnsafeCell<Option<libc::pthread_t>>,
    /// Thread mode: where the thread's signal handlers run; the thread's own.
    pub(super) alt_stack: UnsafeCell<Option<AltStack>>,
    /// Thread mode: 1 once the thread waits for its baton.
    pub(super) started: Futex,
    /// Thread mode: the thread has begun its errand, so it will end.
    pub(super) spent: AtomicBool,
}

/// A slot, owned: from [`Slots::take`](super::Slots::take) to [`Slots::give`](super::Slots::give).
///
/// A slot that is dropped and not given back is lost, and with it the memory of all.
pub struct Slot(pub(super) NonNull<Record>);

// SAFETY: a slot owns its record and what belongs to it; nothing of it is bound to a thread.
unsafe impl Send for Slot {}
// SAFETY: through a shared reference come the context and the words, both Sync, and constants.
unsafe impl Sync for Slot {}

impl Slot {
    pub(super) fn record(&self) -> &Record {
        // SAFETY: records live as long as the `Slots`, which wait for all slots.
        unsafe { self.0.as_ref() }
    }

    /// Prepares the slot to run a goroutine: the first switch to [`context`](Slot::context) calls
    /// `body(argument)`, and at the end `finish(argument)`. Calls nothing of libc's.
    ///
    /// # Safety
    ///
    /// * The slot has not been armed since it was taken.
    /// * `body` and `finish` are sound to call with `argument`, in that order, once, on whichever
    ///   thread switches to the slot first, respectively last. They do not unwind.
    /// * The context that `finish` returns obeys [`switch`](crate::context::switch)'s rules.
    pub unsafe fn arm(&mut self, body: Body, finish: Finish, argument: *mut ()) {
        let record = self.record();
        // SAFETY: the slot has not begun to run, so `&mut self` has the errand alone.
        unsafe { *record.errand.get() = Some(Errand { body, finish, argument }) };
        #[cfg(own_tls)]
        if record.block.is_some() {
            let argument = self.0.as_ptr().cast();
            // SAFETY: the stack is unused, and the context not switched to.
            unsafe {
                let sp = crate::context::arch::first_frame(record.bounds.end, run, argument);
                record.context.resume_at(sp);
            }
        }
    }

    /// Where to switch to.
    pub fn context(&self) -> &Context {
        &self.record().context
    }

    /// The words of the goroutine that runs here.
    pub fn words(&self) -> &Words {
        // Acquire: the thread that wrote them; pairs with the Release store in `thread::main`.
        let words = self.record().words.load(Ordering::Acquire);
        // SAFETY: set before the slot went to the stock; in the slot's own memory.
        unsafe { &*words }
    }

    /// The stack's bytes: what `rsp` may be while the goroutine runs.
    pub fn bounds(&self) -> Range<usize> {
        self.record().bounds.clone()
    }

    /// The guard page: a fault in it is the goroutine's overflow.
    pub fn guard(&self) -> Range<usize> {
        let start = self.record().bounds.start;
        start - super::page_bytes()..start
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("stack", &format_args!("{:#x?}", self.bounds()))
            .field("context", self.context())
            .finish_non_exhaustive()
    }
}

impl Record {
    /// Own TLS: the thread pointer of the slot's block.
    #[cfg(own_tls)]
    pub(super) fn tp(&self) -> usize {
        self.block.map_or(0, |(_, tp)| tp)
    }

    pub(super) fn errand(&self) -> Option<Errand> {
        // SAFETY: called by what runs on the slot, after the switch that followed `arm`.
        unsafe { *self.errand.get() }
    }
}

/// Own TLS: the first function of every goroutine, called by the frame that `arm` wrote.
///
/// # Safety
///
/// On an armed slot, with its record.
#[cfg(own_tls)]
unsafe extern "C" fn run(record: *mut ()) -> ! {
    // SAFETY: `arm` passed the record, which outlives the goroutine.
    let record = unsafe { &*record.cast::<Record>() };
    let (Some(errand), Some((layout, _))) = (record.errand(), record.block) else {
        // An errand that is not there cannot have been armed.
        std::process::abort()
    };
    crate::tls::own::begin_goroutine();
    // SAFETY: `arm`'s caller; and this is the goroutine's end, on its own block.
    let next = unsafe {
        (errand.body)(errand.argument);
        layout.end_of_goroutine();
        (errand.finish)(errand.argument)
    };
    // SAFETY: `finish` returned a context fit for it, and set `in_runtime`.
    unsafe { crate::context::switch(&record.context, &*next) };
    // Nobody may switch to a goroutine that has ended.
    std::process::abort()
}

impl Record {
    pub(super) fn new(context: Context, bounds: Range<usize>) -> Record {
        Record {
            context,
            bounds,
            #[cfg(own_tls)]
            block: None,
            words: AtomicPtr::new(null::<Words>().cast_mut()),
            next: UnsafeCell::new(null::<Record>().cast_mut()),
            bundle: UnsafeCell::new(None),
            errand: UnsafeCell::new(None),
            thread: UnsafeCell::new(None),
            alt_stack: UnsafeCell::new(None),
            started: Futex::new(0),
            spent: AtomicBool::new(false),
        }
    }
}
