//! Where G records live: chunks that are never moved, recycled one by one, freed all at once.
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
//! there; if there is none it leaves the runtime, allocates a chunk, and comes back.
//!
//! The memory is held by whoever still needs it: `out` counts the records that are not in the
//! registry's own list, and while it is not 0 the registry holds one strong count of its scheduler.
//! So a `Waiter` in a static keeps the scheduler's memory, though not its threads, and everything
//! that a record leads to is alive for whoever has the record.
//!
//! ```text
//! free + out = CHUNK · chunks            caches give theirs back when the last M ends
//! ```
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

use core::{
    ops::Range,
    ptr::{NonNull, null_mut},
};
use std::sync::Arc;

use crate::{
    entry::enter,
    lock::Lock,
    shared::Shared,
    sync::{AtomicU64, Ordering},
    task::Task,
};

/// Records made at once: a few pages.
const CHUNK: usize = 64;

/// Numbers that a P takes at once.
const IDS: u64 = 64;

/// Free records a P keeps at most; at the limit half of them go to the registry.
const CACHE: usize = 128;

/// All G records of one scheduler.
#[derive(Debug)]
pub(crate) struct Registry {
    records: Lock<Records>,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct Records {
    free: List,
    /// Records that are not in `free`.
    out: usize,
    chunks: *mut Chunk,
}

// SAFETY: the pointers are the registry's own; the lock around them gives them to one at a time.
unsafe impl Send for Records {}

#[derive(Debug)]
struct Chunk {
    tasks: [Task; CHUNK],
    next: *mut Chunk,
}

/// A list of free records, linked through [`Task::set_next_free`].
#[derive(Debug)]
struct List {
    head: *mut Task,
    len: usize,
}

// SAFETY: whoever has the list has the records in it, and uses them from one thread at a time.
unsafe impl Send for List {}

impl List {
    const fn new() -> Self {
        Self { head: null_mut(), len: 0 }
    }

    fn push(&mut self, task: NonNull<Task>) {
        // SAFETY: the record is alive, and free: its list is the only one to touch the link.
        unsafe { task.as_ref().set_next_free(self.head) };
        self.head = task.as_ptr();
        self.len += 1;
    }

    fn pop(&mut self) -> Option<NonNull<Task>> {
        let task = NonNull::new(self.head)?;
        // SAFETY: as in `push`.
        self.head = unsafe { task.as_ref().next_free() };
        self.len -= 1;
        Some(task)
    }
}

/// A P's free records and numbers. Only the holder of the P uses it.
#[derive(Debug)]
pub(crate) struct Cache {
    free: List,
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
        if self.free.head.is_null() {
            self.refill(shared);
        }
        self.free.pop()
    }

    #[cold]
    fn refill(&mut self, shared: &Shared) {
        while self.free.len < CACHE / 2 {
            let Some(task) = shared.registry.pop(shared) else { break };
            self.free.push(task);
        }
    }

    /// Keeps a record that nobody names any more.
    pub(crate) fn push(&mut self, shared: &Shared, task: NonNull<Task>) {
        self.free.push(task);
        if self.free.len >= CACHE {
            self.give_back(shared, CACHE / 2);
        }
    }

    /// Gives records back until `keep` are left.
    #[cold]
    pub(crate) fn give_back(&mut self, shared: &Shared, keep: usize) {
        while self.free.len > keep {
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
    let last = match entered.machine().filter(|m| m.serves(shared)).and_then(|m| m.held()) {
        Some(held) => {
            held.cache(|cache| cache.push(shared, task));
            None
        }
        None => shared.registry.push(shared, task),
    };
    drop(entered);
    // A scheduler that goes with it takes the user's stack source, hooks and policy along: user code.
    drop(last);
}

impl Registry {
    /// A registry without records.
    pub(crate) fn new() -> Registry {
        let free = List::new();
        let records = Lock::new(Records { free, out: 0, chunks: null_mut() });
        Registry { records, next_id: AtomicU64::new(1) }
    }

    /// The first of `count` numbers for new goroutines.
    pub(crate) fn fresh_ids(&self, count: u64) -> u64 {
        // Relaxed: only uniqueness matters.
        self.next_id.fetch_add(count, Ordering::Relaxed)
    }

    /// A free record from the shared list of `shared`, whose registry this is.
    pub(crate) fn pop(&self, shared: &Shared) -> Option<NonNull<Task>> {
        let mut records = self.records.lock();
        let task = records.free.pop()?;
        records.out += 1;
        if records.out == 1 {
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
        let last = {
            let mut records = self.records.lock();
            records.out -= 1;
            records.free.push(task);
            records.out == 0
        };
        // SAFETY: the count that the first `pop` took.
        last.then(|| unsafe { Arc::from_raw(shared) })
    }

    /// All records there are, used or not.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Task> {
        let mut next = {
            let _entered = enter();
            self.records.lock().chunks
        };
        let chunks = core::iter::from_fn(move || {
            // SAFETY: null, or a chunk that was linked under the lock, with a `next` that is constant
            // since; chunks are freed with the registry.
            let chunk = unsafe { next.as_ref() }?;
            next = chunk.next;
            Some(chunk)
        });
        chunks.flat_map(|chunk: &Chunk| &chunk.tasks)
    }

    /// Sees to it that there are free records. Allocates: must be called outside the runtime.
    pub(crate) fn ensure(&self, shared: &Shared) {
        let dry = {
            let _entered = enter();
            self.records.lock().free.head.is_null()
        };
        if dry {
            self.grow(shared);
        }
    }

    /// Adds a chunk of records. Allocates: must be called outside the runtime.
    pub(crate) fn grow(&self, shared: &Shared) {
        let tasks = core::array::from_fn(|_| Task::new(NonNull::from(shared)));
        let chunk = Box::leak(Box::new(Chunk { tasks, next: null_mut() }));
        let _entered = enter();
        let mut records = self.records.lock();
        chunk.next = records.chunks;
        records.chunks = chunk;
        for task in &chunk.tasks {
            records.free.push(NonNull::from(task));
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let mut chunk = self.records.lock().chunks;
        while !chunk.is_null() {
            // SAFETY: `grow` leaked it from a box. The scheduler is going, so no record is out and
            // nobody names one in this chunk.
            let owned = unsafe { Box::from_raw(chunk) };
            chunk = owned.next;
        }
    }
}
