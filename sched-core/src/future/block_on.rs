//! [`block_on`]: polls a future where the caller stands.

use core::{
    pin::pin,
    task::{Context, Poll},
};
use std::{
    sync::Arc,
    task::{Wake, Waker},
};

use crate::{
    park::{self, WaitReason, Waiter},
    sync::{AtomicBool, Ordering},
};

/// Polls `future` on the calling goroutine or thread until it is over; between the polls the caller
/// parks.
///
/// ```
/// assert_eq!(sched_core::future::block_on(async { 6 * 7 }), 42);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let signal = Arc::new(Signal { woken: AtomicBool::new(false), waiter: park::current() });
    let waker = Waker::from(Arc::clone(&signal));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
        signal.wait();
    }
}

/// That the future was woken. The permit alone would not do: a poll that parks for something else uses
/// it up.
struct Signal {
    woken: AtomicBool,
    waiter: Waiter,
}

impl Signal {
    fn wait(&self) {
        // Acquire: what the waker did before; pairs with `wake_by_ref`.
        while !self.woken.swap(false, Ordering::Acquire) {
            park::park(WaitReason::Future);
        }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: what the caller did before it woke; pairs with `wait`. It comes before the unpark, so
        // whoever parks after it finds the permit. If it was said already, whoever said it unparks.
        if !self.woken.swap(true, Ordering::Release) {
            self.waiter.unpark();
        }
    }
}
