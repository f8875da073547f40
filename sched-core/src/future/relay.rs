//! [`relay`]: has a waker of somebody else's called when a goroutine ends.
//!
//! A goroutine tells its joiner inside the runtime, where a user's waker must not be called. So between
//! the two stands a future of our own: its waker may be called there, and it calls the user's when it is
//! polled, in user code. The scheduler waits for it as for any future, but does not count it among them: it
//! is nobody's, and whoever looks for what is left finds its goroutine.

use core::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::{
    cell::{self, Kind},
    state::State,
    waker::FutureRef,
};
use crate::{shared::Shared, task::about::Birth};

/// Wakes its waker at its first poll, which comes with its first wake.
struct Relay(Option<Waker>);

impl Future for Relay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0.take().into_iter().for_each(Waker::wake);
        Poll::Ready(())
    }
}

/// A future of `shared` that calls `waker` when it is woken. `None`: the scheduler is at its end, and
/// nobody is left to end.
pub(crate) fn relay(shared: &Shared, waker: &Waker, birth: Birth) -> Option<FutureRef> {
    // Before the gate, as a clone of the user's may panic.
    let waker = waker.clone();
    if !shared.gate.enter_to_serve() {
        return None;
    }
    let future = Relay(Some(waker));
    let header = cell::allocate(Kind::Relay, future, State::idle(), shared.arc(), birth);
    // SAFETY: an idle one has one reference, which is ours.
    Some(unsafe { FutureRef::from_raw(header) })
}
