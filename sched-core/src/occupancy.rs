//! Who runs on an M, and on which P: what takers see, and the take itself.
//!
//! # Problem
//!
//! A goroutine blocks in the kernel, or computes for long, without telling anyone. So somebody else
//! takes its P, while the M that holds it may at any moment come back inside, switch to another
//! goroutine, or have its P taken by a second taker. Nobody but the M knows what it is about to do.
//!
//! # Protocol
//!
//! All takers hold the scheduler's one *take lock*. Under it, a taker ([`take`](Occupancy::take))
//!
//! 1. reads `switches`, `task`, `words` and `proc` of the M,
//! 2. does the taker's half of the [entry protocol](crate::entry) on those words,
//! 3. if the goroutine was outside, checks that `switches`, `task` and `proc` are as in 1,
//! 4. sets the M's `proc` to null.
//!
//! Then the P is the taker's, and the lock is released. The goroutine notices at its next entry: it
//! finds a request, takes the lock ([`requests`]), and sees that its M has no P.
//!
//! Why step 3 suffices: suppose the goroutine has left this M since step 1, and runs in user code on
//! another. It left by a switch, which bumped `switches` before anything else was published
//! ([`switch_to`](Occupancy::switch_to)), and it went outside afterwards. Step 2 acquires what came
//! before that; so step 3 sees the bump. And if the goroutine is still here and outside, it cannot switch
//! without an entry, which waits for the lock. So what holds in step 3 holds until step 4.
//!
//! Two takers with two locks would break it: both could pass step 3. A check of `task` alone would,
//! too: the goroutine may have left and come back to this M, which then holds another P.
//!
//! Only pointers are kept here, and none is followed: what they lead to is the caller's business.
//! Model: `loom-tests/tests/sched_entry.rs`.

use core::ptr::null_mut;

use crate::{
    entry::{Barrier, EntryWords, Request, Take},
    lock::Lock,
    lull::Switches,
    sync::{AtomicPtr, Ordering},
};

/// An M as others see it: a P of type `P`, a goroutine with record `G` and thread-local words `W`.
///
/// ```
/// use sched_core::entry::{EntryWords, Fence};
/// use sched_core::lock::Lock;
/// use sched_core::occupancy::Occupancy;
///
/// let (mut proc, mut words, taking) = (7, EntryWords::new(), Lock::new(()));
/// let m = Occupancy::<i32, EntryWords, EntryWords>::new();
/// m.hold(&mut proc);
/// m.switch_to(&mut words, &mut words);
/// // SAFETY: the words are the variable above.
/// let take = || m.take(&taking, &Fence, m.switches(), |words| unsafe { words.as_ref() });
/// assert!(take().is_none(), "the goroutine is inside");
/// words.leave();
/// assert!(take().is_some_and(|taken| core::ptr::eq(taken, &proc)));
/// assert!(m.held().is_null());
/// ```
#[derive(Debug)]
pub struct Occupancy<P, G, W> {
    /// Written by the role; by a taker, to null, while the goroutine is outside.
    proc: AtomicPtr<P>,
    /// Written by the role, at a switch, before the two below.
    switches: Switches,
    words: AtomicPtr<W>,
    task: AtomicPtr<G>,
}

impl<P, G, W> Occupancy<P, G, W> {
    /// Nobody runs, and no P is held.
    pub fn new() -> Self {
        Self {
            proc: AtomicPtr::new(null_mut()),
            switches: Switches::new(),
            words: AtomicPtr::new(null_mut()),
            task: AtomicPtr::new(null_mut()),
        }
    }

    /// The P held, null without one, for the role inside the runtime.
    #[inline]
    pub fn held(&self) -> *mut P {
        // Relaxed: the role wrote it, or a taker whom the entry's slow path has waited for.
        self.proc.load(Ordering::Relaxed)
    }

    /// The P, null without one, as others see it.
    pub fn proc(&self) -> *mut P {
        // Acquire: what the P's new holder wrote into it is visible.
        self.proc.load(Ordering::Acquire)
    }

    /// Role: holds `proc` from now on.
    pub fn hold(&self, proc: *mut P) {
        // Release: pairs with `proc`; the taker's lock does the rest.
        self.proc.store(proc, Ordering::Release);
    }

    /// Role, or a taker: the P is no longer this M's.
    pub fn let_go(&self) {
        // Release: as in `hold`.
        self.proc.store(null_mut(), Ordering::Release);
    }

    /// The goroutine that runs, null between two.
    pub fn task(&self) -> *mut G {
        // Acquire: pairs with `switch_to`; the words read next are not older.
        self.task.load(Ordering::Acquire)
    }

    /// The words of the goroutine that runs, null between two.
    pub fn words(&self) -> *mut W {
        // Acquire: as above.
        self.words.load(Ordering::Acquire)
    }

    /// Switches so far.
    pub fn switches(&self) -> u64 {
        self.switches.get()
    }

    /// Role: publishes the goroutine to which it is about to switch, null for its own thread.
    #[inline]
    pub fn switch_to(&self, task: *mut G, words: *mut W) {
        // First, and Release, all: a taker that sees a goroutine outside the runtime on another M sees the
        // switches of the one it left.
        self.switches.bump();
        self.words.store(words, Ordering::Release);
        self.task.store(task, Ordering::Release);
    }

    /// Takes the P if the goroutine is in user code and `switches` is still the M's count. The P is the
    /// caller's. `entry` follows the words, which stay where they are.
    pub fn take<'w>(
        &self,
        taking: &Lock<()>,
        barrier: &impl Barrier,
        switches: u64,
        entry: impl FnOnce(*mut W) -> Option<&'w EntryWords>,
    ) -> Option<*mut P> {
        let _taking = taking.lock();
        let (task, words, proc) = (self.task(), self.words(), self.proc());
        if task.is_null() || proc.is_null() || self.switches() != switches {
            return None;
        }
        let same = || {
            let unmoved = self.switches() == switches && self.task() == task;
            unmoved && self.proc() == proc
        };
        if entry(words)?.try_take(barrier, same) != Take::Taken {
            return None;
        }
        self.let_go();
        Some(proc)
    }

    /// Role: gives the P away of its own accord, and goes outside without one. `None`: it has none.
    pub fn give_up(&self, taking: &Lock<()>, words: &EntryWords) -> Option<*mut P> {
        let _taking = taking.lock();
        let proc = self.proc();
        if proc.is_null() {
            return None;
        }
        words.request(Request::TAKE);
        self.let_go();
        Some(proc)
    }
}

impl<P, G, W> Default for Occupancy<P, G, W> {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes what is asked of the owner of `words`, in the slow path of its entry. Afterwards its M
/// [holds](Occupancy::held) what it will hold.
pub fn requests(taking: &Lock<()>, words: &EntryWords) -> Request {
    // A taker that is in the middle of its decision is waited for.
    let _taking = taking.lock();
    words.clear(Request::TAKE | Request::PREEMPT)
}
