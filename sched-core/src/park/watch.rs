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
/// # use sched_core::{Config, NoHooks, Scheduler};
/// # let scheduler = Scheduler::new(Config::default(), std::sync::Arc::new(NoHooks)).unwrap();
/// scheduler.adopt_thread();
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
/// # scheduler.shutdown(None);
/// ```
#[derive(Debug)]
pub struct Watch(ThreadRef);

/// Begins a watch of the calling plain thread, which has one at most.
///
/// # Panics
///
/// Unless the thread was [adopted](crate::Scheduler::adopt_thread): it is woken by threads that were seen asleep, and if it
/// woke a goroutine then of its own accord, somebody could have been told of a deadlock before.
///
/// ```should_panic
/// let _watch = sched_core::park::watch();
/// ```
pub fn watch() -> Watch {
    let own = ThreadRef::current();
    assert!(own.record().is_adopted(), "a thread watches that no scheduler has adopted");
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
