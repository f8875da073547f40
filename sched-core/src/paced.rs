//! [`SelfPaced`]: goroutines that rest by themselves.
//!
//! One that has used up its slice stands behind all others, as it would else keep them from running. That is
//! wrong for one that takes a share of the processors and no more, and sleeps for the rest, such as the
//! driver of a collection: a sleeper stands with those that were woken, so if its slice ends just before it
//! would have slept, it waits for everybody in place of nobody.

use core::{fmt, marker::PhantomData};

use crate::goroutine;

/// While this lives, the calling goroutine paces itself: if it is made to give way, it stands with those that
/// were woken, and not behind all others. See [`self_paced`].
#[must_use = "it ends when this is dropped"]
pub struct SelfPaced {
    /// What was said before.
    former: bool,
    /// It is dropped by the goroutine that made it.
    not_send: PhantomData<*mut ()>,
}

/// The calling goroutine paces itself until the value is dropped: it promises to sleep before long, again and
/// again. On a plain thread this does nothing.
///
/// ```
/// let pace = sched_core::self_paced();
/// // works for a moment, sleeps for a moment, …
/// drop(pace);
/// ```
pub fn self_paced() -> SelfPaced {
    let former = goroutine::with_own(|task| task.set_self_paced(true));
    SelfPaced { former: former.unwrap_or(false), not_send: PhantomData }
}

impl Drop for SelfPaced {
    fn drop(&mut self) {
        goroutine::with_own(|task| task.set_self_paced(self.former));
    }
}

impl fmt::Debug for SelfPaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SelfPaced")
    }
}
