//! [`relay`]: has a waker of somebody else's called when a goroutine ends.
//!
//! A goroutine tells its joiner inside the runtime, where a user's waker must not be called. So between
//! the two stands a future of our own, whose waker may be called there. It is ready at its first poll, which
//! comes with its first wake; the user's waker is its joiner, and is called in user code as any future's.
//!
//! The scheduler waits for a relay as for any future, but does not count it among them: it is nobody's, and
//! whoever looks for what is left finds its goroutine.
//!
//! # Who has the joiner's place
//!
//! A relay has no handle. It has one name: the waiter that the goroutine is to tell. By that name alone it is
//! woken or let go, so until then nobody completes it, and whoever has the name has the place as well. That
//! is the goroutine's handle while it has not announced the waiter, or has taken it back. Then it sees whether
//! a poll brings the same waker again ([`wakes`]), which keeps the relay; or it takes the waker out before it
//! lets the relay go ([`dismiss`]), to be cancelled on a carrier: the waker is dropped at once, and not called.

use core::{
    future::{Ready, ready},
    task::Waker,
};
use std::alloc::handle_alloc_error;

use super::{
    cell::{Kind, Room},
    state::{Join, State},
    waker::FutureRef,
};
use crate::{shared::Shared, task::about::Birth};

/// Ready at once.
type Relay = Ready<()>;

/// A future of `shared` that calls `waker` when it is woken. `None`: the scheduler is at its end, and
/// nobody is left to end.
pub(crate) fn relay(shared: &Shared, waker: &Waker, birth: Birth) -> Option<FutureRef> {
    // Before the gate, as a clone of the user's may panic.
    let waker = waker.clone();
    if !shared.gate.enter_to_serve() {
        return None;
    }
    let room = Room::<Relay>::new().unwrap_or_else(|| handle_alloc_error(Room::<Relay>::LAYOUT));
    let header = room.fill(Kind::Relay, ready(()), State::idle(), shared.arc(), birth);
    // SAFETY: an idle one has one reference, which is ours.
    let name = unsafe { FutureRef::from_raw(header) };
    // SAFETY: the one name is ours, and so is the place.
    *unsafe { name.header().joiner() } = Some(waker);
    let announced = name.header().state.set_joiner();
    debug_assert_eq!(announced, Join::Pending, "it is idle");
    Some(name)
}

/// Whether `name`, which a goroutine was to wake, ends in a call of `waker`.
///
/// # Safety
///
/// If `name` is a relay's it is the one name of it.
pub(crate) unsafe fn wakes(name: &Waker, waker: &Waker) -> bool {
    let theirs =
        |theirs: &mut Option<Waker>| theirs.as_ref().is_some_and(|theirs| theirs.will_wake(waker));
    // SAFETY: the caller's claim.
    name.will_wake(waker) || unsafe { with_theirs(name, theirs) }.is_some_and(|same| same)
}

/// Lets go of `name`, which no goroutine will wake: what is behind it is dropped, and not called.
///
/// # Safety
///
/// As for [`wakes`].
pub(crate) unsafe fn dismiss(name: Waker) {
    // SAFETY: the caller's claim.
    let theirs = unsafe { with_theirs(&name, Option::take) };
    drop(name);
    // Last: it is the user's, and may panic.
    drop(theirs);
}

/// Calls `f` with the place of the user's waker, if `name` is a relay's.
///
/// # Safety
///
/// As for [`wakes`].
unsafe fn with_theirs<R>(name: &Waker, f: impl FnOnce(&mut Option<Waker>) -> R) -> Option<R> {
    let relay = FutureRef::behind(name).filter(|future| future.header().kind() == Kind::Relay)?;
    // SAFETY: whoever has the one name of a relay has its place; see the essay.
    Some(f(unsafe { relay.header().joiner() }))
}
