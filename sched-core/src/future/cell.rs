//! A future's memory: the header that all share, the future itself, and its result.
//!
//! ```text
//!   Cell<F>:  header: head | state | scheduler | number, creator, origin | joiner
//!             stage:  the future, then its result
//! ```
//!
//! One allocation for the whole life, made by the spawn, freed with the last reference. What runs the
//! user's code (a poll, a drop) or frees memory happens in user code, never inside the runtime.
//!
//! | field | rule |
//! |---|---|
//! | `head` | the queue it lies in |
//! | `state` | anyone, by its transitions ([`state`](super::state)) |
//! | `shared`, `birth` | constant |
//! | `joiner` | the handle or the completer, as the state says; a relay's: see [`relay`](super::relay) |
//! | `stage` | whoever has the run reference and has started it; after the completion the handle, or the completer if there is none |

use core::{
    alloc::Layout,
    cell::UnsafeCell,
    fmt,
    mem::{ManuallyDrop, MaybeUninit},
    pin::Pin,
    ptr::NonNull,
    task::{Context, Poll, Waker},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::{
    Cancelled,
    state::{Complete, Release, Start, State, Suspend},
    waker,
};
use crate::{
    boxed::try_room,
    shared::Shared,
    task::{about::Birth, raw::Outcome, runnable::Head},
};

/// Who made a future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A spawn.
    Spawned,
    /// The scheduler, for its own needs: see [`relay`](super::relay).
    Relay,
}

/// What the type of a future can do, and who made it.
pub(crate) struct Vtable {
    kind: Kind,
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> Poll<()>,
    cancel: unsafe fn(NonNull<Header>),
    take: unsafe fn(NonNull<Header>, *mut ()),
    drop_result: unsafe fn(NonNull<Header>),
    free: unsafe fn(NonNull<Header>),
}

/// The part of a future's memory that does not depend on its type.
#[repr(C)]
pub(crate) struct Header {
    head: Head,
    pub(crate) state: State,
    shared: Arc<Shared>,
    pub(crate) birth: Birth,
    joiner: UnsafeCell<Option<Waker>>,
}

#[repr(C)]
struct Cell<F: Future> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
}

enum Stage<F: Future> {
    Pending(F),
    Finished(Outcome<F::Output>),
    Taken,
}

/// The memory for a future.
pub(crate) struct Room<F: Future>(Box<MaybeUninit<Cell<F>>>);

impl<F> Room<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    /// What the allocator is asked for.
    pub(crate) const LAYOUT: Layout = Layout::new::<Cell<F>>();

    /// `None`: there is no memory.
    pub(crate) fn new() -> Option<Self> {
        try_room().map(Self)
    }

    /// Puts `future` there, in `state`, whose references the caller has.
    pub(crate) fn fill(
        self,
        kind: Kind,
        future: F,
        state: State,
        shared: Arc<Shared>,
        birth: Birth,
    ) -> NonNull<Header> {
        let head = Head::of_future(match kind {
            Kind::Spawned => &Cell::<F>::SPAWNED,
            Kind::Relay => &Cell::<F>::RELAY,
        });
        let header = Header { head, state, shared, birth, joiner: UnsafeCell::new(None) };
        let stage = UnsafeCell::new(Stage::Pending(future));
        NonNull::from(Box::leak(Box::write(self.0, Cell { header, stage }))).cast()
    }
}

impl<F> Cell<F>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    const SPAWNED: Vtable = Self::vtable(Kind::Spawned);
    const RELAY: Vtable = Self::vtable(Kind::Relay);

    const fn vtable(kind: Kind) -> Vtable {
        Vtable {
            kind,
            poll: Self::poll,
            cancel: Self::cancel,
            take: Self::take,
            drop_result: Self::drop_result,
            free: Self::free,
        }
    }

    /// # Safety
    ///
    /// The header is of a `Cell<F>`, and the caller has its stage, for as long as it uses the result.
    unsafe fn stage<'a>(header: NonNull<Header>) -> &'a mut Stage<F> {
        // SAFETY: the caller's claims.
        unsafe { &mut *header.cast::<Self>().as_ref().stage.get() }
    }

    unsafe fn poll(header: NonNull<Header>, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the caller of the vtable has the stage.
        let stage = unsafe { Self::stage(header) };
        let Stage::Pending(future) = stage else { unreachable!("a future is polled to its end") };
        // SAFETY: a stage does not move, and a future in it is dropped in place.
        let future = unsafe { Pin::new_unchecked(future) };
        let outcome = match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panic) => Err(panic),
        };
        Self::finish(stage, outcome);
        Poll::Ready(())
    }

    unsafe fn cancel(header: NonNull<Header>) {
        // SAFETY: the caller of the vtable has the stage.
        Self::finish(unsafe { Self::stage(header) }, Err(Box::new(Cancelled)));
    }

    /// Drops the future and stores `outcome`; if the destructor panics, that is the outcome.
    fn finish(stage: &mut Stage<F>, outcome: Outcome<F::Output>) {
        let place: *mut Stage<F> = stage;
        // SAFETY: dropped in place, as it is pinned, and written over at once, whatever happens.
        let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { place.drop_in_place() }));
        let outcome = match dropped {
            Ok(()) => outcome,
            Err(panic) => {
                drop_quietly(outcome);
                Err(panic)
            }
        };
        // SAFETY: what was there is dropped.
        unsafe { place.write(Stage::Finished(outcome)) };
    }

    unsafe fn take(header: NonNull<Header>, to: *mut ()) {
        // SAFETY: the caller of the vtable has the stage.
        let stage = unsafe { Self::stage(header) };
        if let Stage::Finished(outcome) = core::mem::replace(stage, Stage::Taken) {
            // SAFETY: the caller of the vtable gives a place of this type.
            unsafe { *to.cast::<Option<Outcome<F::Output>>>() = Some(outcome) };
        }
    }

    unsafe fn drop_result(header: NonNull<Header>) {
        // SAFETY: the caller of the vtable has the stage.
        drop_quietly(core::mem::replace(unsafe { Self::stage(header) }, Stage::Taken));
    }

    unsafe fn free(header: NonNull<Header>) {
        // SAFETY: leaked from such a box by `Room::fill`, and the caller gives it up.
        drop(unsafe { Box::from_raw(header.cast::<Self>().as_ptr()) });
    }
}

/// Drops what nobody wants. If its destructor panics the message is out and the value gone; what it
/// panicked with may panic again when dropped, so it stays.
fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        core::mem::forget(payload);
    }
}

impl Header {
    fn vtable(&self) -> &'static Vtable {
        self.head.future().expect("the head of a future says what it is")
    }

    /// Who made it.
    pub(crate) fn kind(&self) -> Kind {
        self.vtable().kind
    }

    /// The scheduler that polls it.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The place of the joiner's waker.
    ///
    /// # Safety
    ///
    /// The place is the caller's, by the state, for as long as it uses the result.
    #[expect(clippy::mut_from_ref, reason = "the state says whose the place is")]
    pub(crate) unsafe fn joiner(&self) -> &mut Option<Waker> {
        // SAFETY: the caller's claim.
        unsafe { &mut *self.joiner.get() }
    }

    /// Moves the result to `to`, if it is there.
    ///
    /// # Safety
    ///
    /// The future is done, `T` is its output, and the caller is its handle.
    pub(crate) unsafe fn take<T>(&self, to: &mut Option<Outcome<T>>) {
        let to: *mut Option<Outcome<T>> = to;
        // SAFETY: the caller's claims: the handle has the stage after the end.
        unsafe { (self.vtable().take)(NonNull::from(self), to.cast()) };
    }

    /// Drops the result, if it is there. Runs destructors of the user.
    ///
    /// # Safety
    ///
    /// The future is done, and its stage is the caller's.
    pub(crate) unsafe fn drop_result(&self) {
        // SAFETY: the caller's claim.
        unsafe { (self.vtable().drop_result)(NonNull::from(self)) };
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Future").field("id", &self.birth.id).field("state", &self.state).finish()
    }
}

/// Frees the memory of a future that is over and that nobody names.
///
/// # Safety
///
/// The caller was told so ([`Release::Free`]), is in user code, and does not use the header afterwards.
pub(crate) unsafe fn free(header: NonNull<Header>) {
    // SAFETY: the caller's claim: it is alive until the call.
    let vtable = unsafe { header.as_ref() }.vtable();
    // SAFETY: the caller's claim.
    unsafe { (vtable.free)(header) };
}

/// The run reference of a future: the right to poll it.
#[derive(Debug)]
pub(crate) struct Poller(NonNull<Header>);

// SAFETY: the future is `Send`, and the header's parts are atomic or have one user at a time.
unsafe impl Send for Poller {}

impl Poller {
    pub(crate) fn into_raw(self) -> NonNull<Header> {
        self.0
    }

    /// # Safety
    ///
    /// `raw` is a future whose run reference is the caller's, who gives it away.
    pub(crate) unsafe fn from_raw(raw: NonNull<Header>) -> Self {
        Self(raw)
    }

    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the run reference keeps it alive.
        unsafe { self.0.as_ref() }
    }

    /// Polls the future once, in user code. Gives it back if it is to be polled again at once, and
    /// otherwise whether it is over.
    pub(crate) fn poll(self) -> Polled {
        match self.header().state.start() {
            Start::Poll => {}
            Start::Cancel => return self.cancel(),
            Start::Over => {
                self.let_go();
                return Polled::Cleared;
            }
        }
        let waker = ManuallyDrop::new(waker::borrowed(self.0));
        let mut cx = Context::from_waker(&waker);
        // SAFETY: it has been started, so the stage is ours.
        match unsafe { (self.header().vtable().poll)(self.0, &mut cx) } {
            Poll::Ready(()) => self.complete(),
            Poll::Pending => match self.header().state.suspend() {
                Suspend::Idle => Polled::Gone,
                Suspend::Again => Polled::Again(self),
                Suspend::Cancel => self.cancel(),
            },
        }
    }

    fn cancel(self) -> Polled {
        // SAFETY: it is in our hands and not suspended, so the stage is ours.
        unsafe { (self.header().vtable().cancel)(self.0) };
        self.complete()
    }

    /// The result is stored: sees to it that somebody has it.
    fn complete(self) -> Polled {
        let Complete { detached, joiner } = self.header().state.complete();
        if detached {
            // SAFETY: there is no handle, so the stage is still ours.
            unsafe { self.header().drop_result() };
        }
        if joiner {
            // SAFETY: the state gave us the place.
            let waker = unsafe { self.header().joiner() }.take();
            // A waker of the user's that panics has lost nothing of ours.
            waker.into_iter().for_each(|waker| drop_quietly(WakeOnDrop(Some(waker))));
        }
        let kind = self.header().kind();
        self.let_go();
        Polled::Over(kind)
    }

    fn let_go(self) {
        if self.header().state.release() == Release::Free {
            // SAFETY: so says the state, and polls happen in user code.
            unsafe { free(self.0) };
        }
    }
}

/// Wakes its waker when it is dropped.
struct WakeOnDrop(Option<Waker>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Waker::wake);
    }
}

/// How a poll ended.
#[must_use]
pub(crate) enum Polled {
    /// It is over: one less is inside the gate.
    Over(Kind),
    /// It had been over, and what was left is freed: as [`Over`](Self::Over), of whose scheduler polled it.
    Cleared,
    /// It waits, or is nobody's any more.
    Gone,
    /// It was woken meanwhile: it stands behind the others.
    Again(Poller),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a million of them cost: the documentation tells the number.
    #[test]
    fn a_header_is_as_large_as_the_module_says() {
        assert_eq!(size_of::<Header>(), 80);
    }
}
