//! [`WaitGroup`]: waiting until a number of things are done.
//!
//! All under one short lock: the counter and the list of those who wait for zero. Whoever brings it
//! to zero empties the list under the lock and wakes after it. A counter of its own with an atomic
//! fast path (as Go has) saves a few nanoseconds in `done`, and buys the rule that `add` must not
//! race with `wait`; here they may.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::wait::{Later, List, Node, Ticket};
use sched_core::const_unless_loom;
use sched_core::entry;
use sched_core::lock::Lock;
use sched_core::park::WaitReason;

/// Waits until as many [`done`](Self::done) have come as were [`add`](Self::add)ed.
///
/// ```
/// use runtime::sync::WaitGroup;
///
/// let group = WaitGroup::new();
/// group.add(3);
/// std::thread::scope(|s| {
///     for _ in 0..3 {
///         s.spawn(|| group.done());
///     }
///     group.wait();
/// });
/// assert_eq!(group.count(), 0);
/// ```
pub struct WaitGroup {
    state: Lock<State>,
}

struct State {
    count: usize,
    waiters: List,
}

impl WaitGroup {
    const_unless_loom! {
        /// A group that waits for nothing yet.
        ///
        /// ```
        /// runtime::sync::WaitGroup::new().wait(); // returns at once
        /// ```
        pub const fn new() -> Self {
            WaitGroup { state: Lock::new(State { count: 0, waiters: List::new() }) }
        }
    }

    /// Counts `more` things to wait for.
    ///
    /// # Panics
    ///
    /// If the counter overflows.
    ///
    /// ```
    /// let group = runtime::sync::WaitGroup::new();
    /// group.add(2);
    /// assert_eq!(group.count(), 2);
    /// ```
    pub fn add(&self, more: usize) {
        assert!(self.try_add(more), "WaitGroup counter overflow");
    }

    fn try_add(&self, more: usize) -> bool {
        let _inside = entry::enter();
        let mut state = self.state.lock();
        let sum = state.count.checked_add(more);
        state.count = sum.unwrap_or(state.count);
        sum.is_some()
    }

    /// One thing is done.
    ///
    /// # Panics
    ///
    /// If nothing is left to be done.
    ///
    /// ```
    /// let group = runtime::sync::WaitGroup::new();
    /// group.add(1);
    /// group.done();
    /// group.wait();
    /// ```
    pub fn done(&self) {
        assert!(self.try_done(), "WaitGroup::done without a matching add");
    }

    fn try_done(&self) -> bool {
        // Kept until the waiters are woken: no preemption between the unlock and the wake-up.
        let inside = entry::enter();
        let mut state = self.state.lock();
        if state.count == 0 {
            return false;
        }
        state.count -= 1;
        if state.count > 0 {
            return true;
        }
        // SAFETY: the lock is held, and `wait` alone queues here.
        let waiters = unsafe { state.waiters.take_all() };
        drop(state);
        // From here on the group may be gone: those who waited may drop it.
        let later = waiters.map(|waiters| waiters.finish(true));
        drop(inside);
        later.into_iter().for_each(Later::wake);
        true
    }

    /// Waits until nothing is left to be done.
    ///
    /// ```
    /// let group = std::sync::Arc::new(runtime::sync::WaitGroup::new());
    /// group.add(1);
    /// let other = group.clone();
    /// let thread = std::thread::spawn(move || other.done());
    /// group.wait();
    /// thread.join().unwrap();
    /// ```
    pub fn wait(&self) {
        if self.count() == 0 {
            return;
        }
        let ticket = Ticket::sole();
        let node = Node::new(&ticket, 0, std::ptr::null_mut());
        // SAFETY: ticket and node stay on this frame until the ticket is done.
        if unsafe { self.enqueue(&node) } {
            ticket.wait(WaitReason::Group);
        }
    }

    /// Appends `node`, unless nothing is left to be done.
    ///
    /// # Safety
    ///
    /// As [`List::push_back`], but for the lock.
    unsafe fn enqueue(&self, node: &Node) -> bool {
        let _inside = entry::enter();
        let state = self.state.lock();
        if state.count > 0 {
            // SAFETY: the lock is held; the node stays in place, says the caller.
            unsafe { state.waiters.push_back(node) };
        }
        state.count > 0
    }

    /// How much is left to be done now.
    ///
    /// ```
    /// assert_eq!(runtime::sync::WaitGroup::new().count(), 0);
    /// ```
    pub fn count(&self) -> usize {
        let _inside = entry::enter();
        self.state.lock().count
    }
}

// A number, which a panic leaves whole.
impl UnwindSafe for WaitGroup {}
impl RefUnwindSafe for WaitGroup {}

impl Default for WaitGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup").field("count", &self.count()).finish_non_exhaustive()
    }
}
