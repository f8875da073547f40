//! The scheduler's global queue.
//!
//! # Problem
//!
//! Some goroutines become ready where there is no P (a timer, a plain thread), some do not fit into
//! a ring, some have used up their slice and should stand behind all others. They meet in one
//! unbounded queue, which must not allocate: its callers are inside the runtime. So it links the
//! goroutines themselves ([`list`](super::list)). Whose turn it is, the [`lanes`](super::lanes) say.
//!
//! # Protection
//!
//! Lists and links are under the lock. The length is an atomic beside it, so that looking at an
//! empty queue takes no lock; it is written under the lock only. For the spinner's last look the
//! order "push, fence, read the spinners" / "retire, fence, read the length" decides (`idle.md`).
//!
//! # Source
//!
//! Go's `sched.runq`, `globrunqget` (`proc.go`): a batch is `min(128, length / P + 1)`, so that one
//! P does not take what all others wait for. Model: `loom-tests/tests/sched_queue.rs`.

use core::fmt;

use super::Overflow;
use super::lanes::{Lane, Lanes};
use super::list::{Linked, List};
use crate::lock::Lock;
use crate::sync::{AtomicU64, AtomicUsize, Ordering, const_unless_loom, scaled};

/// The most that one P takes at once.
pub const BATCH: usize = scaled(128, 2);

/// The global queue.
///
/// ```
/// use sched_core::queue::Handle;
/// use sched_core::queue::{inject::Inject, lanes::Lane, list::{Link, Linked}};
/// use core::ptr::NonNull;
///
/// struct Task { name: &'static str, link: Link<Task> }
/// struct Ref(Box<Task>);
/// // SAFETY: the round trip is the box's.
/// unsafe impl Handle for Ref {
///     type Target = Task;
///     fn into_raw(self) -> NonNull<Task> { self.0.into_raw() }
///     unsafe fn from_raw(raw: NonNull<Task>) -> Self {
///         // SAFETY: the caller's promise is the same.
///         Ref(unsafe { Box::from_raw(raw.as_ptr()) })
///     }
/// }
/// // SAFETY: one link per task, not used elsewhere; a box is the one handle.
/// unsafe impl Linked for Ref {
///     fn link(task: &Task) -> &Link<Task> { &task.link }
/// }
/// let task = |name| Ref(Box::new(Task { name, link: Link::new() }));
///
/// let global = Inject::new();
/// global.push(task("hog"), Lane::Plain);
/// global.push(task("sleeper"), Lane::Woken);
/// assert_eq!(global.len(), 2);
/// assert_eq!(global.pop(false).expect("two were pushed").0.name, "sleeper");
/// assert_eq!(global.take(1, 8, false).map(|task| task.0.name).collect::<Vec<_>>(), ["hog"]);
/// ```
pub struct Inject<H: Linked> {
    /// The sum of all lanes; written under the lock.
    len: AtomicUsize,
    /// Woken ones alone; written under the lock.
    woken: AtomicUsize,
    /// Holders alone; written under the lock.
    holders: AtomicUsize,
    /// How often the lock was taken; written under it.
    visits: AtomicU64,
    lanes: Lock<Lanes<H>>,
}

impl<H: Linked> Inject<H> {
    const_unless_loom! {
        /// An empty queue.
        pub const fn new() -> Self {
            Self {
                len: AtomicUsize::new(0),
                woken: AtomicUsize::new(0),
                holders: AtomicUsize::new(0),
                visits: AtomicU64::new(0),
                lanes: Lock::new(Lanes::new()),
            }
        }
    }

    /// Puts `item` at the end of `lane`.
    pub fn push(&self, item: H, lane: Lane) {
        let mut list = List::new();
        list.push(item);
        self.append(list, lane);
    }

    /// Puts all of `list` at the end of `lane`, in one step.
    pub fn append(&self, list: List<H>, lane: Lane) {
        self.with(|lanes| lanes.put(list, lane));
    }

    /// Takes the one whose turn it is. In a `hurry` holders go first.
    pub fn pop(&self, hurry: bool) -> Option<H> {
        if self.is_empty() {
            return None;
        }
        self.with(|lanes| lanes.pop(hurry))
    }

    /// Takes one who goes before all others, if there is one: a P looks here before its own ring.
    pub fn pop_first(&self, hurry: bool) -> Option<H> {
        if !self.has_first(hurry) {
            return None;
        }
        self.with(|lanes| lanes.pop_first(hurry))
    }

    /// Takes one P's share: `len / procs + 1`, at most [`BATCH`] and `room`, in the order in which
    /// `pop` would give them.
    pub fn take(&self, procs: usize, room: usize, hurry: bool) -> List<H> {
        if self.is_empty() || room == 0 {
            return List::new();
        }
        self.with(|lanes| {
            let share = (lanes.len() / procs.max(1) + 1).min(BATCH).min(room);
            lanes.pop_batch(share, hurry)
        })
    }

    /// How many there were at about this time.
    #[inline]
    pub fn len(&self) -> usize {
        // Acquire: not needed for the lists (the lock orders those); it keeps a spinner's later
        // looks after this one.
        self.len.load(Ordering::Acquire)
    }

    /// True if there were none at about this time.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if one waited at about this time who goes before all others.
    #[inline]
    pub fn has_first(&self, hurry: bool) -> bool {
        // Relaxed, both: hints; who misses one finds the goroutine by `pop`.
        self.woken.load(Ordering::Relaxed) != 0
            || hurry && self.holders.load(Ordering::Relaxed) != 0
    }

    /// How often the queue's lock was taken so far.
    pub fn visits(&self) -> u64 {
        // Relaxed: a number.
        self.visits.load(Ordering::Relaxed)
    }

    fn with<R>(&self, f: impl FnOnce(&mut Lanes<H>) -> R) -> R {
        let mut lanes = self.lanes.lock();
        let result = f(&mut lanes);
        // Relaxed, both: written under the lock only.
        self.visits.store(self.visits.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // Relaxed, both: hints, see `has_first`.
        self.woken.store(lanes.woken.len(), Ordering::Relaxed);
        self.holders.store(lanes.holders.len(), Ordering::Relaxed);
        // Release: pairs with the Acquire in `len`. The handshake with a retiring spinner is made
        // by the fences of `idle`.
        self.len.store(lanes.len(), Ordering::Release);
        result
    }
}

impl<H: Linked> Overflow<H> for Inject<H> {
    fn take_batch(&self, batch: impl Iterator<Item = H>) {
        self.append(batch.collect(), Lane::Plain);
    }
}

impl<H: Linked> Default for Inject<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Linked> fmt::Debug for Inject<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inject").field("len", &self.len()).finish_non_exhaustive()
    }
}
