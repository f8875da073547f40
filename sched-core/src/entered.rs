//! Entering the runtime, as everything above the scheduler does it.
//!
//! [`enter`] is the owner's side of the protocol in [`entry`](crate::entry), with what belongs to
//! it: the running block's own words, the barrier that this process has, the slow path, and an exit
//! that cannot be forgotten.
//!
//! While an [`Entered`] lives, the caller on a goroutine holds a P that nobody takes away, is not
//! preempted, and does not migrate. In return it is bound by the rules inside the runtime: no
//! foreign allocator, no lock of std or libc, no parking, no user code. On a plain thread, on an M's
//! own stack and in a forked child it costs the same and means nothing: there is no P.
//!
//! Entries nest. Only the outermost can meet the slow path, so an inner one may be made anywhere. And only from
//! the outermost does a goroutine give way, lose its P, or change what its M is for: frames of ours below it
//! go on with the M and the P that they had. Safe code can try otherwise, in a [`Policy`](crate::policy::Policy)
//! or under an [`Entered`] of its own; the process then ends ([`Entered::assert_outermost`]). So it does when an
//! [`Entered`] is dropped before one that was made later, which may be the runtime's own.

use core::{fmt, marker::PhantomData};

use crate::{
    entry::Entry,
    error::fatal,
    goroutine,
    machine::Machine,
    proc::Held,
    sync::Ordering,
    tls::{self, Words},
};

/// The caller is inside the runtime until this is dropped: it keeps its P, and calls nothing that may
/// wait for user code. Of several the last one is dropped first; any other ends the process.
#[must_use = "the runtime is left as soon as this is dropped"]
pub struct Entered<'a> {
    words: &'a Words,
    entry: Entry,
    /// It must be dropped on the stack that made it.
    not_send: PhantomData<*mut ()>,
}

/// Enters the runtime. 0.8 ns with its exit, unless somebody wants something of the caller: then it
/// waits for a P, or gives way to others, before it returns.
///
/// ```
/// let entered = sched_core::entry::enter();
/// assert!(entered.proc_local().is_null(), "a plain thread has no P");
/// ```
#[inline(always)]
pub fn enter() -> Entered<'static> {
    let words = tls::words();
    let entry = words.entry.enter(tls::barrier());
    if entry.pending() {
        goroutine::answer(words);
    }
    Entered { words, entry, not_send: PhantomData }
}

/// As [`enter`], unless somebody wants something of the caller: then the caller is outside again, and
/// whoever asked is answered at its next [`enter`]. It calls nothing, so that what a caller does between
/// this and the exit can be a few instructions without a frame.
///
/// ```
/// let entered = sched_core::entry::try_enter().expect("nobody wants anything of a plain thread");
/// assert!(entered.proc_local().is_null(), "a plain thread has no P");
/// ```
#[inline(always)]
pub fn try_enter() -> Option<Entered<'static>> {
    let words = tls::words();
    let entry = words.entry.enter(tls::barrier());
    let entered = Entered { words, entry, not_send: PhantomData };
    (!entry.pending()).then_some(entered)
}

impl Entered<'_> {
    /// The embedding's pointer of the P held, null without one. Good until this is dropped.
    #[inline]
    pub fn proc_local(&self) -> *mut () {
        self.held().map_or(core::ptr::null_mut(), |held| held.proc().local())
    }

    /// The number of the P held, from 0; `None` without one.
    #[inline]
    pub fn proc_index(&self) -> Option<usize> {
        self.held().map(|held| held.proc().index())
    }

    /// Whether the caller was in user code before.
    pub(crate) fn is_outermost(&self) -> bool {
        self.entry.outermost()
    }

    /// Ends the process unless the caller was in user code before. `deed` is what it cannot do elsewhere.
    #[inline(always)]
    pub(crate) fn assert_outermost(&self, deed: &str) {
        if !self.is_outermost() {
            refuse(deed);
        }
    }

    /// The M that runs the caller; `None` on a plain thread.
    #[inline]
    pub(crate) fn machine(&self) -> Option<&Machine> {
        // Relaxed: written by the M itself before it resumed this block.
        let machine = self.words.m.load(Ordering::Relaxed).cast::<Machine>();
        // SAFETY: null, or the M that runs this block, and keeps doing so while it is inside; Ms
        // live as long as their scheduler, whose goroutine or thread this is.
        unsafe { machine.as_ref() }
    }

    /// The P held.
    #[inline]
    pub(crate) fn held(&self) -> Option<Held<'_>> {
        self.machine()?.held()
    }
}

/// Ends the process if the caller is an M, or a goroutine, that is inside the runtime. `deed` is what it cannot do
/// there.
#[cold]
pub(crate) fn assert_outside(deed: &str) {
    let entered = enter();
    if entered.machine().is_some() {
        entered.assert_outermost(deed);
    }
}

#[cold]
#[inline(never)]
fn refuse(deed: &str) -> ! {
    fatal(format_args!(
        "{deed} inside the runtime: a policy, hooks, and whoever keeps an `Entered` call nothing that may wait"
    ))
}

/// Ends the process: the runtime is left by another entry than the last one. See [`entry`](crate::entry#out-of-turn).
#[cold]
#[inline(never)]
pub(crate) fn out_of_turn() -> ! {
    fatal(format_args!(
        "an `Entered` ends out of turn: drop the last one first, and keep none when a policy or a hook returns"
    ))
}

impl Drop for Entered<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.words.entry.exit(self.entry);
    }
}

impl fmt::Debug for Entered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered").field("proc", &self.proc_index()).finish()
    }
}
