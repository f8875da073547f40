//! Who mutates: the trait between the collector and threads, processors or goroutines.
//!
//! # Problem
//!
//! A mutator's fast path needs state of its own: guard counters, a log, an allocation cache. With
//! plain threads that state belongs to the thread. In a runtime it belongs to the processor on
//! which a goroutine runs right now, which may change between any two instructions unless the
//! runtime is told. [`World::with`] is how it is told.
//!
//! # Words
//!
//! - *Local state* ([`Local`]): counters, log and cache of one place where mutators run.
//! - *Occupant*: whoever is inside `with` for that local state; one at a time.
//! - *Task*: a thread or goroutine. It holds guards, and may leave them on another local state
//!   than it entered them on.
//! - *Nesting* ([`Nesting`]): how many guards the current task holds, since which epoch.

mod barrier;
mod processors;
pub mod threads;

pub use self::barrier::Barrier;

use crate::{
    local::Local,
    space::{Exhausted, Space},
    sync::fence,
};
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// How many guards a task holds, and the epoch of the outermost: `epoch << 16 | depth`.
///
/// Written by its task alone; anyone may read it, so that a dump can find who delays a cycle, and a
/// scheduler can run that one first. 0: none.
///
/// ```
/// use gc_core::{Heap, Plain, world::World};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let depth = || heap.world().nesting(|task| task.depth());
/// let guards = (heap.enter(), heap.enter());
/// assert_eq!(depth(), 2);
/// drop(guards);
/// assert_eq!(depth(), 0);
/// ```
#[derive(Default, Debug)]
#[repr(transparent)]
pub struct Nesting(AtomicU64);

impl Nesting {
    /// A task that holds no guard.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A task's count in a word of somebody else's, such as a field of its record.
    #[inline]
    pub fn of(word: &AtomicU64) -> &Self {
        // SAFETY: `Self` is transparent over the word, and any value of it is a count.
        unsafe { &*core::ptr::from_ref(word).cast() }
    }

    /// The first value of the word that is of a guard after this epoch: words of later epochs are larger.
    pub const fn after(epoch: u64) -> u64 {
        (epoch + 1) << 16
    }

    /// How many guards the task holds.
    #[inline]
    pub fn depth(&self) -> u64 {
        // Relaxed: the task asks for itself; other readers want a hint.
        self.0.load(Ordering::Relaxed) & 0xffff
    }

    /// The epoch (modulo 2⁴⁸) of the task's outermost guard, if it holds one.
    pub fn epoch(&self) -> Option<u64> {
        // Relaxed: a hint for dumps and for the scheduler.
        let word = self.0.load(Ordering::Relaxed);
        (word & 0xffff != 0).then_some(word >> 16)
    }

    /// Whether one more cannot be counted.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.depth() == 0xffff
    }

    /// Notes a guard entered; the outermost one leaves its epoch here. There is room for it.
    #[inline]
    pub(crate) fn push(&self, epoch: usize) {
        // Relaxed: one writer, and readers want a hint.
        let word = self.0.load(Ordering::Relaxed);
        let next = if word & 0xffff == 0 { (epoch as u64) << 16 | 1 } else { word + 1 };
        self.0.store(next, Ordering::Relaxed);
    }

    /// The word passes from a task that has ended to another one. What that one has leaked stays
    /// counted where handshakes look; it is not the next one's.
    pub(crate) fn pass_on(&self) {
        // Relaxed: whoever passes the word on orders it.
        self.0.store(0, Ordering::Relaxed);
    }

    /// The guards of `other` are counted here as well, as far as there is room. Each word is its caller's.
    pub(crate) fn carry(&self, other: &Self) {
        // Relaxed: as in `push`.
        let (word, more) = (self.0.load(Ordering::Relaxed), other.0.load(Ordering::Relaxed));
        let depth = ((word & 0xffff) + (more & 0xffff)).min(0xffff);
        let epoch = if word & 0xffff == 0 { more } else { word } & !0xffff;
        self.0.store(if depth == 0 { 0 } else { epoch | depth }, Ordering::Relaxed);
    }

    /// Notes a guard left; gives how many are still held.
    #[inline]
    pub(crate) fn pop(&self) -> u64 {
        // Relaxed: as in `push`.
        let depth = (self.0.load(Ordering::Relaxed) & 0xffff).saturating_sub(1);
        let rest = self.0.load(Ordering::Relaxed) & !0xffff | depth;
        self.0.store(if depth == 0 { 0 } else { rest }, Ordering::Relaxed);
        depth
    }
}

/// A stretch of time in which a task has one thread, and has it for itself. Two equal ones mean that what the
/// thread's clock counted between them is the task's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stint(pub usize, pub u64);

/// Mutators and their local states. See the [module](self).
///
/// # Safety
///
/// An implementation guarantees:
///
/// 1. During `with` or `try_with`, the caller is the only occupant of the local state it is given, and one
///    occupancy happens before the next.
/// 2. `each` reaches every local state that `with` ever gave, those of dead threads and removed
///    processors included. A local state that `with` gives for the first time is within reach
///    of every `each` that starts later.
/// 3. `light` and `heavy` are two sides of one barrier: for any call of each, either everything
///    before the `light` is visible after the `heavy`, or everything before the `heavy` is
///    visible after the `light`. Two `fence(SeqCst)` are that, and are the default; a [`Barrier`]
///    that was probed before the first guard is that, too.
/// 4. `waiter`, `park` and `unpark` do not unwind: others have the address of something on a waiter's stack.
pub unsafe trait World<S: Space>: Send + Sync + 'static {
    /// Makes the caller's local state, if it has none, and occupies it during `f`. Allocates; called outside `with`,
    /// and before a task's first one. A world that makes its local states in advance leaves this as it is.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] if there is no memory for one. Nothing has happened then.
    ///
    /// # Safety
    ///
    /// `space` is the one that the world is used with: the local state has a cache of it. `f` is as for
    /// [`with`](Self::with).
    unsafe fn join<R>(&self, space: &S, f: impl FnOnce(&Local<S>) -> R) -> Result<R, Exhausted> {
        // SAFETY: the caller's.
        Ok(unsafe { self.with(space, f) })
    }

    /// Occupies the caller's local state during `f`. Asks for no memory where the caller has joined; elsewhere,
    /// as in a processor that its task was moved to meanwhile, it may, and a refusal ends the process.
    ///
    /// # Safety
    ///
    /// `space` is as for [`join`](Self::join). `f` runs no user code, does not unwind, waits for nobody and does not
    /// call `with` again: a task that is set aside in there, or comes back, is no longer the one occupant.
    unsafe fn with<R>(&self, space: &S, f: impl FnOnce(&Local<S>) -> R) -> R;

    /// As [`with`](Self::with), if the caller's local state is at hand, and with the guard count of its task;
    /// else `None`, and `f` is not called. For paths of a few instructions: a world calls nothing else here.
    ///
    /// # Safety
    ///
    /// As [`with`](Self::with).
    #[inline(always)]
    unsafe fn try_with<R>(&self, f: impl FnOnce(&Local<S>, &Nesting) -> R) -> Option<R> {
        let _ = f;
        None
    }

    /// Calls `f` for every local state.
    fn each(&self, f: &mut dyn FnMut(&Local<S>));

    /// Shows `f` the current task's guard count; called inside `with` as well as outside.
    fn nesting<R>(&self, f: impl FnOnce(&Nesting) -> R) -> R;

    /// The calling task has left its last guard, and a handshake may have waited for it: a world may
    /// let others run. Called outside `with`.
    #[inline]
    fn released(&self) {}

    /// The heap has outrun its collector, and there is nothing to help with now: a world may let others
    /// run, if the caller has its turn again soon. True if it did. Called outside `with`, and outside
    /// guards.
    fn outrun(&self) -> bool {
        false
    }

    /// The calling task's stint; `None` if it cannot be told: a thread may be a goroutine, for all that it knows.
    /// For statistics. Called outside `with`.
    fn stint(&self) -> Option<Stint> {
        None
    }

    /// How many tasks can run at once, beside each other.
    fn processors(&self) -> u32 {
        1
    }

    /// Lets others run for about `time`; called outside `with`.
    fn nap(&self, time: Duration);

    /// Names a task that waits for a lock.
    type Waiter: Send + 'static;

    /// The calling task.
    fn waiter(&self) -> Self::Waiter;

    /// Sleeps until the calling task has a permit, and uses it up; may return without one. Called
    /// outside `with`, and under guards.
    fn park(&self);

    /// Gives a task a permit, whether it sleeps or not. What the caller did before is visible to it
    /// after its `park`. Called outside `with`; does not wait.
    fn unpark(&self, waiter: &Self::Waiter);

    /// The cheap side of the barrier, for guards.
    #[inline(always)]
    fn light(&self) {
        // SeqCst: see rule 3.
        fence(Ordering::SeqCst);
    }

    /// The dear side of the barrier, for handshakes.
    fn heavy(&self) {
        // SeqCst: see rule 3.
        fence(Ordering::SeqCst);
    }
}
