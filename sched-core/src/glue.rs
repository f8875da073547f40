//! What the signal handlers ask of the scheduler, and sending the signal.
//!
//! The handlers ([`preempt`](crate::preempt)) find an M and a goroutine as bare pointers in the
//! running block's words, and know nothing of either. The functions of [`GLUE`] tell them. They
//! are the same for all schedulers of the process, as the records they look into are.

use crate::{
    config::{Config, Preemption},
    context::ThreadId,
    error::Error,
    goroutine,
    machine::Machine,
    preempt::{self, AltStack, Glue, MThread, Registers, Stack, Stderr},
    shared::Shared,
    task::Task,
    tls,
};

/// The scheduler's answers.
const GLUE: Glue = Glue { thread, stack, yield_now, yield_here, overflow };

/// Installs the handlers, once per process.
pub(crate) fn install(config: &Config) -> Result<(), Error> {
    // The process's own mode, not this scheduler's: the next one may differ.
    let mode = tls::probe(config.surplus);
    // SAFETY: only the scheduler writes words (outside of this crate it takes unsafe functions), and only
    // pointers to its Ms and G records, which the functions below expect.
    unsafe { preempt::install(GLUE, mode) }.map_err(Error::Signals)
}

/// Gives the calling thread what handlers on it need. It must be kept while the thread is an M.
pub(crate) fn alt_stack() -> AltStack {
    AltStack::install().unwrap_or_else(|error| {
        crate::error::fatal(format_args!("no memory for a signal stack: {error}"))
    })
}

/// Sends the preemption signal to whatever thread is in the role of `m`, if the configuration
/// allows it. What it is to do must have been requested before.
pub(crate) fn signal(shared: &Shared, m: &Machine) {
    if shared.config.preemption != Preemption::Cooperative {
        let thread: ThreadId = m.thread();
        // A thread that is no more has nothing to give up.
        let _ = m.signals().interrupt(thread);
    }
}

unsafe fn thread(m: *mut ()) -> *const MThread {
    // SAFETY: the handler found it in the words of a block, where only Ms are stored, and Ms outlive
    // all threads that run goroutines.
    unsafe { &*m.cast::<Machine>() }.signals()
}

unsafe fn stack(g: *mut ()) -> Stack {
    // SAFETY: the handler runs on the goroutine's own thread, so the record is there, and has a slot
    // until the commit of its end, which runs elsewhere.
    let task = unsafe { &*g.cast::<Task>() };
    let movable = task.shared().config.preemption == Preemption::Inject;
    // SAFETY: as above.
    Stack { bounds: unsafe { task.bounds() }, movable }
}

unsafe extern "C" fn yield_now() {
    goroutine::preempted();
}

unsafe fn yield_here(at: Registers) {
    goroutine::preempted_here(at);
}

/// Who it was and where it came from, and no backtrace, as std gives none: finding and naming frames takes memory and
/// the loader's lock, and the goroutine may have run out of stack in the middle of `malloc` or of `dlopen`. Then the
/// report would hang and never be read. A debugger or a core file shows the frames.
unsafe fn overflow(g: *mut ()) {
    use core::fmt::Write;
    // SAFETY: as in `stack`.
    let task = unsafe { &*g.cast::<Task>() };
    // Nobody is left to hear of an error.
    let _ = write!(Stderr, "sched-core: goroutine {} has overflowed its stack", task.id());
    if let Some(origin) = task.about.origin() {
        let _ = write!(Stderr, "; it was started at {origin}");
    }
    if let Some(creator) = task.about.creator() {
        let _ = write!(Stderr, " by goroutine {creator}");
    }
    let _ = writeln!(Stderr);
}
