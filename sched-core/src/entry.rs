//! Entry and retake: how a P is taken from under a goroutine that never said it would block.
//!
//! # Problem
//!
//! A goroutine may block in the kernel, or spin, without telling anyone. Its P must then go to
//! others, at any instant at which the goroutine is *outside* the runtime, and never while it is
//! inside (where it uses the P's queues and caches without a lock). So each entry into the
//! runtime must be visible to a taker, yet cost next to nothing.
//!
//! # Words
//!
//! * *owner*: the goroutine (or plain thread) whose TLS block holds the [`EntryWords`].
//! * *inside*: `in_runtime`, the number of entries that are open, is not 0. It is 1 from birth, since a goroutine
//!   starts inside.
//! * *taker*: whoever takes Ps away. It holds the runtime's one take lock.
//!
//! # Algorithm
//!
//! ```text
//! enter:  outer = in_runtime; in_runtime = outer + 1; light fence; outer == 0 && retake != 0 → slow path
//! exit:   in_runtime == outer + 1, else the process ends; in_runtime = outer (release)
//! taker:  retake |= TAKE; heavy fence;
//!         in_runtime == 0 and the owner is still where it was → the P is the taker's
//!         else retake &= !TAKE, unless TAKE stood before
//! ```
//!
//! Entries nest: only the outermost looks at `retake`, and the exit puts back what its entry
//! found. The slow path takes the take lock too, so it waits for a taker in the middle of its
//! decision, and then decides from the M's P, not from the bit: a stray bit is harmless.
//!
//! # Out of turn
//!
//! An entry is a value, and safe code may keep it: a policy, which is asked in the midst of entries of others, drops one
//! that was made before them, or leaves one behind. If that exit put back what its entry found, takers would come in
//! under frames that use the P. So each open entry has a number of its own, the count that it found, and only the
//! last one may end; any other, and a [`leave`](EntryWords::leave) beside open ones, ends the process. So the
//! word is 0 only when no entry is open.
//!
//! The count is of 64 bits: entries that are forgotten for ever do not bring it round.
//!
//! # Why it is right
//!
//! ```text
//! owner                              taker
//!   O1  in_runtime > 0                 T1  retake |= TAKE
//!   O2  light fence                    T2  heavy fence
//!   O3  read retake                    T3  read in_runtime
//! ```
//!
//! Either O2 comes before T2, and then T3 sees O1 (or something later): the taker gives up. Or T2
//! comes before O2, and then O3 sees TAKE: the owner takes the slow path. Both may happen, never
//! neither. If T3 reads 0, the owner was outside, and its next outermost entry meets the bit and
//! then the lock; until the taker lets go of the lock the owner cannot touch a P, and cannot
//! switch.
//!
//! A taker that gives up takes back its own bit only. If TAKE stood when it came, an earlier take
//! of the same P succeeded and its owner has not noticed yet; without the bit the owner would go on
//! using a P that is gone. (The model found this with two takers, of which one came late.)
//!
//! The words are the goroutine's, and goroutines migrate: what T3 read may be the 0 of a goroutine
//! that has meanwhile moved to another M. To move, it had to switch inside and to exit elsewhere;
//! T3 acquires that exit, so the check after T3 (`m.g`, `m.p`, `m.switches`) sees that the M has
//! switched. Hence the order: `in_runtime` first, the closure second.
//!
//! # Cost
//!
//! A load, a store, a load and a branch to enter, a load, a branch and a store to exit: 0.8 ns the pair, against 5.7 for
//! a pair of compare-and-swaps. The taker pays 0.5–0.7 µs for `membarrier`. Where the kernel
//! refuses it both sides use a full fence ([`Fence`]).
//!
//! # Source
//!
//! The part of Go's `entersyscall`/`exitsyscall` and `retake` (`proc.go`), with the announcement
//! turned around: Go's code says when it leaves, ours when it comes in.
//! Model: `loom-tests/tests/sched_entry.rs`.

use crate::sync::{
    AtomicU8, AtomicU32, AtomicU64, Ordering, asymmetric_heavy, asymmetric_light,
    asymmetric_register, const_unless_loom, fence,
};

#[cfg(not(loom))]
use crate::entered::out_of_turn;
#[cfg(not(loom))]
pub use crate::entered::{Entered, enter, try_enter};
#[cfg(loom)]
use crate::model::out_of_turn;
#[cfg(loom)]
pub use crate::model::{Entered, enter};

bitflags::bitflags! {
    /// What others want of an owner; it looks at its next outermost entry.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Request: u32 {
        /// A taker wants, or has, the P. The take lock and the M's P tell which.
        const TAKE = 1;
        /// Yield: the slice is used up, or somebody more urgent waits.
        const PREEMPT = 1 << 1;
    }
}

/// The words of one owner, in its own TLS block. See the [module](self) for the protocol.
///
/// ```
/// use sched_core::entry::{EntryWords, Fence, Request, Take};
///
/// let words = EntryWords::new(); // inside
/// assert_eq!(words.try_take(&Fence, || true), Take::Inside);
///
/// words.leave();
/// assert_eq!(words.try_take(&Fence, || true), Take::Taken);
/// let entry = words.enter(&Fence);
/// assert!(entry.pending(), "the owner meets the bit at its next entry");
/// words.clear(Request::TAKE);
/// words.exit(entry);
/// ```
#[derive(Debug)]
#[repr(C)]
pub struct EntryWords {
    /// Entries that are open. Written by the owner alone; read by takers and by the owner's signal handler.
    in_runtime: AtomicU64,
    /// Bits of [`Request`]. Set by anyone, cleared by takers and by the owner, always by RMW.
    retake: AtomicU32,
}

/// One entry that has not been left yet: what `in_runtime` was before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an entry that is not exited keeps its P for ever"]
pub struct Entry {
    outer: u64,
    pending: bool,
}

impl Entry {
    /// True if this is the outermost entry and somebody wants something: take the slow path.
    #[inline(always)]
    pub fn pending(&self) -> bool {
        self.pending
    }

    /// True if the owner was outside before this entry.
    #[inline(always)]
    pub fn outermost(&self) -> bool {
        self.outer == 0
    }
}

/// How [`EntryWords::try_take`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "after `Taken` the P is the caller's and must be given to somebody"]
pub enum Take {
    /// The P is the taker's, and the owner will come to the slow path before it uses one.
    Taken,
    /// The owner is inside the runtime.
    Inside,
    /// The owner has moved since the taker chose it.
    Moved,
}

impl EntryWords {
    const_unless_loom! {
        /// Words of an owner that is inside, with nothing requested.
        pub const fn new() -> Self {
            Self { in_runtime: AtomicU64::new(1), retake: AtomicU32::new(0) }
        }
    }

    /// The owner comes in. Check [`Entry::pending`] before touching anything of a P.
    #[inline(always)]
    pub fn enter(&self, barrier: &impl Barrier) -> Entry {
        // Relaxed: only the owner writes this word.
        let outer = self.in_runtime.load(Ordering::Relaxed);
        // Relaxed: the fence orders it before the load below; its partner is in `try_take`.
        self.in_runtime.store(outer + 1, Ordering::Relaxed);
        barrier.light();
        // Relaxed: as above. What a taker did is acquired through the take lock in the slow path.
        let pending = outer == 0 && self.retake.load(Ordering::Relaxed) != 0;
        Entry { outer, pending }
    }

    /// The owner leaves what `entry` entered; if that is not the last of its entries that are open, the process ends.
    #[inline(always)]
    pub fn exit(&self, entry: Entry) {
        // Relaxed: only the owner writes this word.
        if self.in_runtime.load(Ordering::Relaxed) != entry.outer + 1 {
            out_of_turn();
        }
        // Release: everything done inside, to the P above all, happens before a taker's Acquire
        // load of 0 in `try_take`.
        self.in_runtime.store(entry.outer, Ordering::Release);
    }

    /// The owner goes outside for the first time: a goroutine is born inside and enters its body
    /// by this call. An entry that is open ends the process, as in [`exit`](Self::exit).
    #[inline(always)]
    pub fn leave(&self) {
        self.exit(Entry { outer: 0, pending: false });
    }

    /// The owner comes in to stay: the counterpart of [`leave`](Self::leave), before its last
    /// switch. True if there is a request to see to.
    #[inline(always)]
    pub fn return_inside(&self, barrier: &impl Barrier) -> bool {
        self.enter(barrier).pending
    }

    /// Tries to take the P of the owner, which the caller believes to run on some M.
    ///
    /// The caller holds the runtime's one take lock, from before this call until the P has a new
    /// holder. `still_same` says whether the M's goroutine, P and switch count are those from
    /// which the caller chose; it is asked last, after the owner was seen outside.
    pub fn try_take(&self, barrier: &impl Barrier, still_same: impl FnOnce() -> bool) -> Take {
        let stood = self.request(Request::TAKE);
        barrier.heavy();
        // Acquire: pairs with the Release store in `exit`. What the owner did inside, its switches
        // included, is visible to `still_same` and to the P's next holder.
        let inside = self.in_runtime.load(Ordering::Acquire) != 0;
        let verdict = match inside {
            true => Take::Inside,
            false if still_same() => Take::Taken,
            false => Take::Moved,
        };
        if verdict != Take::Taken && !stood.contains(Request::TAKE) {
            self.clear(Request::TAKE);
        }
        verdict
    }

    /// Leaves requests for the owner's next outermost entry. Returns those that stood already.
    pub fn request(&self, bits: Request) -> Request {
        // AcqRel: keeps the order of requests; the handshake itself is the barrier's.
        let before = self.retake.fetch_or(bits.bits(), Ordering::AcqRel);
        Request::from_bits_truncate(before)
    }

    /// Withdraws requests, or says that they have been seen to. Returns those that stood.
    pub fn clear(&self, bits: Request) -> Request {
        // AcqRel: as in `request`.
        let before = self.retake.fetch_and(!bits.bits(), Ordering::AcqRel);
        Request::from_bits_truncate(before)
    }

    /// What is requested now.
    pub fn requested(&self) -> Request {
        // Acquire: what the requester did before `request` is visible to whoever acts on it.
        Request::from_bits_truncate(self.retake.load(Ordering::Acquire))
    }

    /// True while the owner is inside. Exact for the owner and its signal handler; for others
    /// only a hint.
    #[inline(always)]
    pub fn inside(&self) -> bool {
        // Relaxed: the handler runs on the owner's thread; for others it is a hint.
        self.in_runtime.load(Ordering::Relaxed) != 0
    }

    /// Back to birth: inside, nothing requested. For a slot's next owner.
    pub fn reset(&self) {
        // Relaxed: nobody else knows of this owner yet.
        self.retake.store(0, Ordering::Relaxed);
        // Relaxed: as above.
        self.in_runtime.store(1, Ordering::Relaxed);
    }

    /// The owner goes on as the only thread of a forked child: inside, nothing requested. Entries that are open end in
    /// their turn.
    pub fn survive_fork(&self) {
        // Relaxed, all: the child has one thread.
        self.retake.store(0, Ordering::Relaxed);
        let open = self.in_runtime.load(Ordering::Relaxed);
        self.in_runtime.store(open.max(1), Ordering::Relaxed);
    }
}

impl Default for EntryWords {
    fn default() -> Self {
        Self::new()
    }
}

/// A pair of fences of which one side may be cheap.
///
/// Promise: of a light and a heavy fence one comes before the other, and what precedes the earlier
/// is visible after the later. Two light ones promise nothing.
pub trait Barrier {
    /// The owner's side, on each entry.
    fn light(&self);
    /// The taker's side.
    fn heavy(&self);
}

/// Full fences on both sides: needs nothing of the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fence;

impl Barrier for Fence {
    #[inline(always)]
    fn light(&self) {
        // SeqCst: store, then load, of two words; no weaker fence orders those.
        fence(Ordering::SeqCst);
    }

    fn heavy(&self) {
        // SeqCst: the other half of the same handshake.
        fence(Ordering::SeqCst);
    }
}

/// `membarrier(2)`: a compiler fence for the owner, a system call for the taker.
///
/// Having one proves that the process is registered.
#[derive(Clone, Copy, Debug)]
pub struct Membarrier(());

impl Membarrier {
    /// Registers the process; `None` where the kernel or a sandbox refuses.
    pub fn register() -> Option<Self> {
        asymmetric_register().then_some(Self(()))
    }
}

impl Barrier for Membarrier {
    #[inline(always)]
    fn light(&self) {
        asymmetric_light();
    }

    fn heavy(&self) {
        asymmetric_heavy();
    }
}

const FENCED: u8 = 0;
const ASYMMETRIC: u8 = 1;

/// The one of the two that this process can have, found by [`probe`](Self::probe).
///
/// It starts as [`Fence`], so entries before the probe are safe, and it changes at most once. A
/// taker begins after the probe and is heavy enough for owners that saw the older choice, since a
/// full fence is also a light one.
///
/// ```
/// use sched_core::entry::{EntryWords, ProbedBarrier};
///
/// static BARRIER: ProbedBarrier = ProbedBarrier::new();
/// BARRIER.probe();
/// let words = EntryWords::new();
/// let entry = words.enter(&BARRIER);
/// assert!(!entry.pending());
/// words.exit(entry);
/// ```
#[derive(Debug)]
pub struct ProbedBarrier(AtomicU8);

impl ProbedBarrier {
    const_unless_loom! {
        /// Fences until the probe says better.
        pub const fn new() -> Self {
            Self(AtomicU8::new(FENCED))
        }
    }

    /// Registers for `membarrier` if the kernel has it. True if the cheap side is cheap now.
    pub fn probe(&self) -> bool {
        let asymmetric = Membarrier::register().is_some();
        if asymmetric {
            // Release: the registration happens before any use of the cheap side; pairs with the
            // Acquire load in `heavy`.
            self.0.store(ASYMMETRIC, Ordering::Release);
        }
        asymmetric
    }
}

impl Default for ProbedBarrier {
    fn default() -> Self {
        Self::new()
    }
}

impl Barrier for ProbedBarrier {
    #[inline(always)]
    fn light(&self) {
        // Relaxed: either answer is right, see the type.
        match self.0.load(Ordering::Relaxed) {
            ASYMMETRIC => asymmetric_light(),
            _ => Fence.light(),
        }
    }

    fn heavy(&self) {
        // Acquire: pairs with the Release store in `probe`.
        match self.0.load(Ordering::Acquire) {
            ASYMMETRIC => asymmetric_heavy(),
            _ => Fence.heavy(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
