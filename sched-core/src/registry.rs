//! Where G records live: a [`Roster`] of them, with a cache for each P, and who keeps their memory.
//!
//! # Problem
//!
//! A G record is named by queues, by [`Waiter`](crate::park::Waiter)s in user code, by joins, and
//! the last of these names may vanish anywhere: inside the runtime, where no allocator may be
//! called, on a thread without a P, or long after the scheduler is gone.
//!
//! # How
//!
//! Records are counted ([`TaskRef`]). A record whose count falls to zero goes to the free list of
//! the P at hand ([`Cache`], no lock), or to the registry's (a [`Lock`]). A spawn takes one from
//! there; if there is none it leaves the runtime, allocates a chunk, and comes back. Without memory for one it is an
//! error.
//!
//! The memory is held by whoever still needs it: while any record is out of the roster the registry holds
//! one strong count of its scheduler. So a `Waiter` in a static keeps the scheduler's memory, though not its
//! threads, and everything that a record leads to is alive for whoever has the record. Caches give theirs
//! back when the last M ends.
//!
//! With that count a scheduler may go, and with the scheduler what is the user's: its stack source, hooks,
//! policy. So the count is not dropped inside the runtime of another. A record whose last name is dropped there
//! is a *stray* ([`Strays`]): the service thread of the scheduler where this happens brings it home.
//!
//! Numbers come by the batch as well: a P takes [`IDS`] of them at once, so they say who came first only
//! among those that one P started.
//!
//! # Rejected
//!
//! * *An `Arc` per goroutine*: its last owner may be inside the runtime.
//! * *Freeing by epochs*: pinning registers through a thread-local, hence every goroutine.
//! * *Go's way, records kept for ever* (golang/go#9869): the chunks of a stopped scheduler would
//!   stay. While it runs we do as Go does.

use core::{ops::Range, ptr::NonNull};
use std::sync::Arc;

use crate::{
    entry::enter,
    lock::Lock,
    roster::{Chunk, List, Roster},
    shared::Shared,
    sync::{AtomicU64, Ordering},
    task::Task,
};

/// Numbers that a P takes at once.
const IDS: u64 = 64;

/// Free records a P keeps at most; at the limit half of them go to the registry.
const CACHE: usize = 128;

/// All G records of one scheduler.
#[derive(Debug)]
pub(crate) struct Registry {
    roster: Roster<Task>,
    next_id: AtomicU64,
}

/// A P's free records and numbers. Only the holder of the P uses it.
#[derive(Debug)]
pub(crate) struct Cache {
    free: List<Task>,
    ids: Range<u64>,
}

impl Cache {
    pub(crate) const fn new() -> Self {
        Self { free: List::new(), ids: 0..0 }
    }

    /// A number for a new goroutine.
    pub(crate) fn fresh_id(&mut self, registry: &Registry) -> u64 {
        self.ids.next().unwrap_or_else(|| {
            let first = registry.fresh_ids(IDS);
            self.ids = first + 1..first + IDS;
            first
        })
    }

    /// A free record, from here or by the batch from the registry.
    pub(crate) fn pop(&mut self, shared: &Shared) -> Option<NonNull<Task>> {
        if self.free.is_empty() {
            self.refill(shared);
        }
        self.free.pop()
    }

    #[cold]
    fn refill(&mut self, shared: &Shared) {
        while self.free.len() < CACHE / 2 {
            let Some(task) = shared.registry.pop(shared) else { break };
            // SAFETY: records live as long as their scheduler, and so does the P.
            unsafe { self.free.push(task) };
        }
    }

    /// Keeps a record that nobody names any more.
    pub(crate) fn push(&mut self, shared: &Shared, task: NonNull<Task>) {
        // SAFETY: as in `refill`.
        unsafe { self.free.push(task) };
        if self.free.len() >= CACHE {
            self.give_back(shared, CACHE / 2);
        }
    }

    /// Gives records back until `keep` are left.
    #[cold]
    pub(crate) fn give_back(&mut self, shared: &Shared, keep: usize) {
        while self.free.len() > keep {
            let Some(task) = self.free.pop() else { break };
            // The caller has a count of its own.
            drop(shared.registry.push(shared, task));
        }
    }
}

/// Takes back a record that nobody names any more, from wherever the last name was dropped.
///
/// # Safety
///
/// The caller dropped the last reference to `task`.
pub(crate) unsafe fn recycle(task: NonNull<Task>) {
    // SAFETY: the record is out until it is back in the registry's list, at the end of this.
    let shared = unsafe { task.as_ref() }.shared();
    let entered = enter();
    let last = match entered.machine() {
        // Not the last count: the M has one.
        Some(m) if m.serves(shared) => match m.held() {
            Some(held) => {
                held.cache(|cache| cache.push(shared, task));
                None
            }
            None => shared.registry.push(shared, task),
        },
        // Between two goroutines nobody has entered, but the M works with its P.
        Some(m) if !entered.is_outermost() || m.task().is_null() => {
            m.shared().service.keep_stray(task);
            None
        }
        _ => shared.registry.push(shared, task),
    };
    drop(entered);
    // A scheduler that goes with it takes the user's stack source, hooks and policy along: user code.
    drop(last);
}

/// Records of other schedulers that nobody names any more, on their way home. See the [module](self).
#[derive(Debug)]
pub(crate) struct Strays(Lock<List<Task>>);

impl Strays {
    pub(crate) const fn new() -> Self {
        Self(Lock::new(List::new()))
    }

    /// Keeps a record that nobody names any more. True if none was here.
    pub(crate) fn keep(&self, task: NonNull<Task>) -> bool {
        let mut strays = self.0.lock();
        let first = strays.is_empty();
        // SAFETY: the record is out, so its scheduler lives, and it is nobody else's.
        unsafe { strays.push(task) };
        first
    }

    /// Brings all home. Calls user code: on a thread without a P.
    pub(crate) fn send_home(&self) {
        while let Some(task) = self.next() {
            // SAFETY: the record is out until it is back in the registry's list.
            let shared = unsafe { task.as_ref() }.shared();
            drop(shared.registry.push(shared, task));
        }
    }

    fn next(&self) -> Option<NonNull<Task>> {
        self.0.lock().pop()
    }
}

impl Registry {
    /// A registry without records.
    pub(crate) fn new() -> Registry {
        Registry { roster: Roster::new(), next_id: AtomicU64::new(1) }
    }

    /// The first of `count` numbers for new goroutines.
    pub(crate) fn fresh_ids(&self, count: u64) -> u64 {
        // Relaxed: only uniqueness matters.
        self.next_id.fetch_add(count, Ordering::Relaxed)
    }

    /// A free record from the shared list of `shared`, whose registry this is.
    pub(crate) fn pop(&self, shared: &Shared) -> Option<NonNull<Task>> {
        let (task, first) = self.roster.take()?;
        if first {
            // Nobody else has the record yet: it is not brought back before this.
            // SAFETY: a `Shared` lives in an Arc (its only constructor makes one), and the caller's
            // reference proves that it is alive.
            unsafe { Arc::increment_strong_count(shared) };
        }
        Some(task)
    }

    /// Takes back a record. With the last one that is out, gives the registry's count of `shared`, which
    /// may be the last: it is dropped outside the runtime, if the caller can leave it.
    #[must_use]
    fn push(&self, shared: &Shared, task: NonNull<Task>) -> Option<Arc<Shared>> {
        let shared: *const Shared = shared;
        // SAFETY: it came from this registry, and nobody names it any more. The roster is there until the count
        // is gone that is taken below.
        let last = unsafe { self.roster.give(task) };
        // SAFETY: the count that the first `pop` took.
        last.then(|| unsafe { Arc::from_raw(shared) })
    }

    /// All records there are, used or not.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Task> {
        let _entered = enter();
        self.roster.records()
    }

    /// Sees to it that there are free records. Allocates: must be called outside the runtime. False if there are
    /// none, and no memory for more.
    #[must_use]
    pub(crate) fn ensure(&self, shared: &Shared) -> bool {
        let dry = {
            let _entered = enter();
            self.roster.is_dry()
        };
        !dry || self.grow(shared)
    }

    /// Adds records. Allocates: must be called outside the runtime. False if there is no memory for them.
    #[must_use]
    pub(crate) fn grow(&self, shared: &Shared) -> bool {
        let Some(chunk) = Chunk::new(|| Task::new(NonNull::from(shared))) else { return false };
        // Whoever is set aside with the lock keeps Ps waiting for it.
        let _entered = enter();
        self.roster.add(chunk);
        true
    }
}
