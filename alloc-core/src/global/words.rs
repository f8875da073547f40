//! What the allocator keeps for each thread, or for each processor of a scheduler, and where.
//!
//! ```text
//!   slot   the cache, if nobody uses it; null while it is in use, or there is none
//! ```
//!
//! Whoever uses the cache takes the pointer out of `slot` and puts it back afterwards. A signal handler
//! that interrupts the allocator finds `slot` null and gets no cache. Both are plain loads and stores.
//! [`Words`] begin as zeros and need neither initialiser nor destructor, so they work before `main` and
//! after all destructors of the thread.
//!
//! # Where the words lie
//!
//! In a thread-local of std's ([`StdPlace`]), save in a preloaded library: its thread-locals of the
//! usual kind are found by a function of libc's that may call `malloc`. Such a library brings a
//! [`Place`] of its own.

use core::{
    cell::Cell,
    fmt,
    ptr::{self, NonNull},
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{LOCAL, thread::Pooled};
use crate::lend::Berth;

/// A thread that never allocates has a cache after so many frees, which take two system calls each until then. Libc
/// frees a few blocks after a thread's last destructor.
pub(super) const FREES: u8 = 200;

/// What the allocator knows of a thread. All zeros is a thread that never allocated.
#[repr(C)]
pub struct Words {
    pub(super) slot: Berth<Pooled>,
    pub(super) state: Cell<State>,
    /// Rounds of destructors that our key's has let pass.
    pub(super) rounds: Cell<u8>,
    /// Blocks that the thread has freed without ever having had a cache.
    frees: Cell<u8>,
    /// This thread forks, and holds all locks for that.
    forking: Cell<bool>,
    /// What `slot` and `state` were before it began to.
    parked: Cell<*mut Pooled>,
    before: Cell<State>,
    /// Turns with the cache that may have been slow ones. The thread counts, the scavenger looks.
    pub(super) turns: AtomicUsize,
    /// `turns` when the scavenger looked last, and when it emptied the cache. Under the pool's lock.
    noted: Cell<usize>,
    pub(super) emptied: Cell<usize>,
}

impl Words {
    /// The words of a thread that never allocated.
    #[allow(
        clippy::new_without_default,
        reason = "only a thread-local is made of it, by a constant"
    )]
    pub const fn new() -> Self {
        Words {
            slot: Berth::new(),
            state: Cell::new(State::New),
            rounds: Cell::new(0),
            frees: Cell::new(0),
            forking: Cell::new(false),
            parked: Cell::new(ptr::null_mut()),
            before: Cell::new(State::New),
            turns: AtomicUsize::new(0),
            noted: Cell::new(0),
            emptied: Cell::new(0),
        }
    }

    /// The thread uses its cache.
    #[inline(always)]
    pub(super) fn count_turn(&self) {
        // Relaxed, both: written by the thread alone. Whoever reads it wants a hint, or has the cache, which
        // the thread gave back by a Release after this.
        self.turns.store(self.turns.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Counts a free by a thread that never had a cache; `true` if it has freed so many that one pays.
    pub(super) fn count_free(&self) -> bool {
        let frees = self.frees.get();
        self.frees.set(frees.saturating_add(1));
        frees >= FREES
    }

    /// Whether the scavenger should ask for the cache: it holds something, and its thread did nothing since
    /// the last look. Under the pool's lock.
    pub(super) fn is_idle(&self) -> bool {
        // Relaxed: a hint.
        let turns = self.turns.load(Ordering::Relaxed);
        self.noted.replace(turns) == turns && turns != self.emptied.get()
    }

    /// True if a handler that interrupted the allocator in this thread asks.
    pub(super) fn in_the_middle(&self) -> bool {
        match self.state.get() {
            State::Bound | State::Freeing | State::Processor => self.slot.cache().is_none(),
            State::Binding => true,
            State::New | State::Over => false,
        }
    }

    /// Says whether these are the words of a processor that has a cache.
    pub(super) fn set_processor(&self, is_one: bool) {
        self.state.set(if is_one { State::Processor } else { State::New });
    }

    /// This thread is about to take all locks; `false` if it is inside the allocator and must not. No handler
    /// interrupts it until [`Words::end_fork`].
    ///
    /// Until then it has no cache, and the emergency heap gives it nothing.
    pub(super) fn begin_fork(&self) -> bool {
        if self.in_the_middle() {
            return false;
        }
        self.before.set(self.state.replace(State::Binding));
        self.parked.set(self.slot.leave());
        self.forking.set(true);
        true
    }

    /// There will be no cache for this thread any more.
    pub(super) fn go_without(&self) {
        self.state.set(State::Over);
        self.slot.leave();
    }

    /// This thread has given all locks back.
    pub(super) fn end_fork(&self) {
        self.forking.set(false);
        if let Some(parked) = NonNull::new(self.parked.get()) {
            self.slot.exit(parked);
        }
        self.state.set(self.before.get());
    }

    /// True between [`Words::begin_fork`] that said so and [`Words::end_fork`].
    pub(super) fn is_forking(&self) -> bool {
        self.forking.get()
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Words").finish_non_exhaustive()
    }
}

/// How far a thread's binding has come.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    New = 0,
    Binding,
    Bound,
    /// It has a cache since it freed much, and never allocated: the pool does not know these words.
    Freeing,
    /// The cache went back to the pool: never again.
    Over,
    /// These are the words of a processor with a cache, not of a thread.
    Processor,
}

/// Finds the words of the calling thread.
///
/// # Safety
///
/// 1. Each thread of execution has words of its own, which begin as [`Words::new`] or as zeros, are
///    always the same, and stay in place until the thread has ended.
/// 2. Finding them does not allocate and does not unwind, at any time of the thread's life; nor does `is_amid`.
pub unsafe trait Place {
    /// Runs `f` with the words.
    fn with<R>(f: impl FnOnce(&Words) -> R) -> R;

    /// Whether the caller is a handler that interrupted the use of a cache that these words do not know: that of a
    /// processor. Asked before a fork, with all signals off.
    fn is_amid() -> bool {
        false
    }
}

/// In a thread-local of std's.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdPlace;

// SAFETY: a thread-local with a constant initialiser and without destructor is there for all of the
// thread's life (1), and in an executable is found relative to the thread pointer (2).
unsafe impl Place for StdPlace {
    #[inline(always)]
    fn with<R>(f: impl FnOnce(&Words) -> R) -> R {
        LOCAL.with(f)
    }
}
