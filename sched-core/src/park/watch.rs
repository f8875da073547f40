//! [`Watch`]: a plain thread's vigil, as a value.

use super::ThreadRef;
use crate::tls;

/// The thread that made it is unparked when another plain thread begins to wait without a deadline, or ends, if it
/// has ever parked. The threads of schedulers are not meant ([`adopt_thread`](crate::Scheduler::adopt_thread)).
///
/// For who has asked in vain whether there is a [`deadlock`](crate::Scheduler::deadlock): it begins a watch, asks
/// once more, and waits.
///
/// ```
/// use sched_core::park::{self, WaitReason};
///
/// let (main, watch) = (park::current(), park::watch());
/// let sleeper = std::thread::spawn(|| {
///     let own = park::current();
///     std::thread::spawn(move || own.unpark());
///     park::park(WaitReason::Park);
/// });
/// while !watch.is_over() {
///     park::park(WaitReason::Park);
/// }
/// # sleeper.join().unwrap();
/// ```
#[derive(Debug)]
pub struct Watch(ThreadRef);

/// Begins a watch of the calling plain thread, which has one at most.
///
/// It is [adopted](crate::Scheduler::adopt_thread) by the scheduler that is asked for deadlocks, or wakes none of its
/// goroutines: it may be woken by a thread that was seen asleep, and the answer would come too early.
pub fn watch() -> Watch {
    let own = ThreadRef::current();
    tls::vigils().begin(&own.record().vigil);
    Watch(own)
}

impl Watch {
    /// Whether the thread was told.
    pub fn is_over(&self) -> bool {
        !self.0.record().vigil.is_kept()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        tls::vigils().end(&self.0.record().vigil);
    }
}
