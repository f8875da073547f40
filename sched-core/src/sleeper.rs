//! A plain thread's sleep, as others see it: whether it ends by itself, and how often somebody ended it.
//!
//! A [`Parker`] is enough to sleep and be woken. Who asks whether anybody is left that can wake a goroutine
//! ([`lull`](crate::lull)) wants to know as well that a thread sleeps, that it sleeps for ever, and that it was
//! not woken since it was last seen so.
//!
//! A waking is counted before the permit is left. So whoever sees a thread asleep has in the counts all wakings by
//! that thread, and sees a waking *of* it as a change of the word or of the count. One is missing: of who
//! [watches](crate::park::watch), which comes when the sleep can be seen. Only an adopted thread watches, and that one
//! wakes nobody of its own accord.

use crate::parker::{Parker, Woken};
use crate::sync::{AtomicBool, AtomicU64, Ordering, const_unless_loom};

/// One thread's place to sleep, in view of others.
///
/// ```
/// use sched_core::sleeper::Sleeper;
///
/// let sleeper = Sleeper::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| sleeper.park());
///     while !sleeper.sleeps_for_ever() {}
///     sleeper.unpark();
/// });
/// assert_eq!(sleeper.wakings(), 1);
/// ```
#[derive(Debug)]
pub struct Sleeper {
    parker: Parker,
    /// Whether it sleeps without a deadline, or is about to, or has just been woken.
    for_ever: AtomicBool,
    /// How often it was woken.
    wakings: AtomicU64,
}

impl Sleeper {
    const_unless_loom! {
        /// No permit, nobody asleep.
        pub const fn new() -> Self {
            Self {
                parker: Parker::new(),
                for_ever: AtomicBool::new(false),
                wakings: AtomicU64::new(0),
            }
        }
    }

    /// Sleeps until there is a permit, and takes it. One thread at a time may sleep here.
    pub fn park(&self) {
        self.park_and(|| ());
    }

    /// As [`park`](Self::park); `tell` is called before it sleeps, when others can see that it does.
    pub fn park_and(&self, tell: impl FnOnce()) {
        // Relaxed, both: the parker's word says whether it sleeps; see `sleeps_for_ever`.
        self.for_ever.store(true, Ordering::Relaxed);
        self.parker.park_and(tell);
        self.for_ever.store(false, Ordering::Relaxed);
    }

    /// As [`park`](Self::park), until `deadline` at most (see [`crate::sync::now`]).
    pub fn park_until(&self, deadline: u64) -> Woken {
        self.parker.park_until(deadline)
    }

    /// Leaves a permit, and wakes the thread.
    pub fn unpark(&self) {
        // Relaxed: ordered before the permit by the parker's Release.
        self.wakings.fetch_add(1, Ordering::Relaxed);
        self.parker.unpark();
    }

    /// Whether the thread sleeps until somebody wakes it. Then what it did before has happened for the caller.
    pub fn sleeps_for_ever(&self) -> bool {
        // The parker's word first: a flag of an earlier sleep is not taken for that of this one.
        // Relaxed: the word was acquired.
        self.parker.is_asleep() && self.for_ever.load(Ordering::Relaxed)
    }

    /// How often it was woken so far: every waking by one that was seen asleep before is among them.
    pub fn wakings(&self) -> u64 {
        // Relaxed: those were ordered before the sleep that was seen.
        self.wakings.load(Ordering::Relaxed)
    }
}

impl Default for Sleeper {
    fn default() -> Self {
        Self::new()
    }
}
