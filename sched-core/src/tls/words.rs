//! The words that every TLS block carries, and every other static of the mechanism.
//!
//! # Problem
//!
//! The scheduler must answer "which goroutine am I, and may I be interrupted here?" in one
//! instruction, from a signal handler, and without an address that a migration can make stale. A
//! pointer to the M, read just before a preemption and used just after it, would name the wrong M.
//!
//! # Answer
//!
//! The answer lies in the TLS block itself. A goroutine's block goes where the goroutine goes, so
//! `fs:WORDS` is its own on every thread. The image says `in_runtime = 1`: a thread that never
//! heard of the scheduler, a goroutine that has not started, and an M on its own stack are all
//! "not preemptible" without a further test.
//!
//! Three kinds of TLS block hold a [`Words`]:
//!
//! | block | `m` | `g` | `in_runtime` |
//! |---|---|---|---|
//! | a goroutine's | the M it runs on | itself | 0 in user code |
//! | an M's own thread | itself | null | as its entries nest, never 0 |
//! | any other thread | null | null | as its entries nest, 1 at rest |
//!
//! The variable has no destructor and a constant initialiser, so an access is one `fs:`-relative
//! instruction: no registration, no lazy initialisation, legal in a signal handler and in the last
//! moments of a thread. It must lie in *static* TLS, or a slot could not be prepared without
//! `__tls_get_addr`; the probe checks it ([`crate::tls::probe`]).
//!
//! # Statics
//!
//! Apart from `preempt/signal.rs` this is the only file of the crate that has any. They are
//! process-wide facts: the result of the probe (libc does not change while we run), and the counter
//! of pseudo thread ids (two schedulers in one process must not hand out the same id).

use core::cell::Cell;
use core::ptr::{NonNull, null_mut};
#[cfg(own_tls)]
use core::sync::atomic::AtomicI32;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Once, OnceLock};

use super::Mode;
use crate::entry::{Barrier, EntryWords, ProbedBarrier};
use crate::lock::Lock;
use crate::park::{AllParkers, FreeParkers, ThreadParker, ThreadRef};
use crate::vigil::Vigils;

/// The scheduler's words in one TLS block.
///
/// # Who writes what
///
/// * `entry`: the entry protocol's own rules (`crate::entry`).
/// * `m`, `g`: written by the M that resumes the goroutine, before the switch, while the goroutine
///   is suspended; read by the goroutine while `in_runtime` is set. A take-over compares them from
///   outside, under the take lock.
///
/// Recycling a slot resets the words with atomic stores and never lets `in_runtime` be 0, so a
/// taker that still looks at a finished goroutine sees nothing it may take.
///
/// The scheduler and the handlers of signals follow both pointers, and believe `entry`. So outside of this
/// crate the words are written by unsafe functions alone: whoever drives the mechanism without our scheduler
/// uses them.
///
/// ```compile_fail
/// use std::sync::atomic::Ordering;
///
/// // The next entry would look for a P in there.
/// sched_core::tls::with_words(|words| words.m.store(8 as *mut (), Ordering::Relaxed));
/// ```
///
/// ```compile_fail
/// // Within a policy it would open the P to takers.
/// sched_core::tls::with_words(|words| words.entry.leave());
/// ```
#[derive(Debug)]
pub struct Words {
    /// `in_runtime` and `retake`.
    pub(crate) entry: EntryWords,
    /// The M this block runs on: only meaningful while `in_runtime` is set.
    pub(crate) m: AtomicPtr<()>,
    /// The goroutine this block belongs to, null on a plain thread.
    pub(crate) g: AtomicPtr<()>,
    /// The block's owner is in the middle of a fork. Its own, and its handler's.
    forks: AtomicBool,
}

impl Words {
    const fn new() -> Self {
        Words {
            entry: EntryWords::new(),
            m: AtomicPtr::new(null_mut()),
            g: AtomicPtr::new(null_mut()),
            forks: AtomicBool::new(false),
        }
    }

    /// Whether the owner is inside the runtime. Exact for the owner and its signal handler, a hint for others.
    #[inline(always)]
    pub fn is_inside(&self) -> bool {
        self.entry.inside()
    }

    /// The M this block runs on, null on a plain thread. Of use only inside the runtime.
    pub fn machine(&self) -> *mut () {
        // Relaxed: written by the M that resumed this block, before the switch.
        self.m.load(Ordering::Relaxed)
    }

    /// The goroutine this block belongs to, null on a plain thread.
    pub fn goroutine(&self) -> *mut () {
        // Relaxed: as in `machine`.
        self.g.load(Ordering::Relaxed)
    }

    /// Says whose block this is, before the switch to it.
    ///
    /// # Safety
    ///
    /// The owner is suspended, or the caller. Both pointers are what the functions with which the handlers
    /// [were installed](crate::preempt::install) expect, or null, and stay so until others take their place. No
    /// [`Scheduler`](crate::Scheduler) runs this block.
    pub unsafe fn board(&self, machine: *mut (), goroutine: *mut ()) {
        // Relaxed, both: the switch orders them.
        self.m.store(machine, Ordering::Relaxed);
        self.g.store(goroutine, Ordering::Relaxed);
    }

    /// The goroutine goes outside; see [`EntryWords::leave`].
    ///
    /// # Safety
    ///
    /// The caller is the owner, which no [`Scheduler`](crate::Scheduler) runs. It may be preempted from now on.
    pub unsafe fn leave(&self) {
        self.entry.leave();
    }

    /// The goroutine comes in to stay; see [`EntryWords::return_inside`].
    ///
    /// # Safety
    ///
    /// The caller is the owner, which no [`Scheduler`](crate::Scheduler) runs.
    pub unsafe fn return_inside(&self, barrier: &impl Barrier) -> bool {
        self.entry.return_inside(barrier)
    }

    /// Whether this is no moment to be interrupted, for the handler on the same thread: the owner is
    /// inside the runtime, or forks.
    pub(crate) fn undisturbed(&self) -> bool {
        // Relaxed: the owner's own word, on this thread.
        self.entry.inside() || self.forks.load(Ordering::Relaxed)
    }

    fn set_forks(&self, forks: bool) {
        // Relaxed: read by the owner's handler alone.
        self.forks.store(forks, Ordering::Relaxed);
    }
}

thread_local! {
    static WORDS: Words = const { Words::new() };

    /// Thread mode: what the goroutine's thread does last of all. See [`set_last_act`].
    static LAST_ACT: Cell<Option<LastAct>> = const { Cell::new(None) };

    /// Where a plain thread parks, once it has; goroutines have no use for it. Without a destructor, as those of
    /// other thread-locals may park: they have to find what a waker was told. The name is the thread's own,
    /// which [`PARKER_KEY`] gives up.
    static PARKER: Cell<Option<NonNull<ThreadParker>>> = const { Cell::new(None) };
}

/// The pthread key whose destructor, which libc calls after those of thread-locals, gives up the thread's record;
/// `None` if libc had none: then the records of threads that have ended are used by nobody again.
static PARKER_KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();

/// Thread mode: the pthread key whose destructor performs [`LAST_ACT`]; `None` if libc had none.
static LAST_ACT_KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();

/// The fences of the entry protocol that this process can have.
static BARRIER: ProbedBarrier = ProbedBarrier::new();

/// Records of threads that have ended, to be used by others. They are never freed.
static FREE_PARKERS: Lock<FreeParkers> = Lock::new(FreeParkers::new());

/// All of these records, in use or not.
static ALL_PARKERS: AllParkers = AllParkers::new();

/// Those of plain threads.
static VIGILS: Vigils = Vigils::new();

/// The handlers for forks are registered once.
static FORK: Once = Once::new();

/// The probe's answer, once per process.
pub(super) static MODE: OnceLock<Mode> = OnceLock::new();

/// The fences of the entry protocol that this process can have.
#[inline(always)]
pub(crate) fn barrier() -> &'static ProbedBarrier {
    &BARRIER
}

/// The running thread's place to park, made by `fresh` at its first use: the same to the end of the thread. Who
/// parks in a destructor of another pthread key, after ours, gets a new one, and so another call of ours.
pub(crate) fn thread_parker(fresh: fn() -> ThreadRef) -> ThreadRef {
    let own = PARKER.get().unwrap_or_else(|| {
        let own = fresh().into_raw();
        PARKER.set(Some(own));
        if let Some(key) = parker_key() {
            // A thread that is refused keeps its record when it ends.
            let _ = renew(key);
        }
        own
    });
    // SAFETY: the thread's own name is given up at its end, and not meanwhile.
    unsafe { ThreadRef::further(own) }
}

fn parker_key() -> Option<libc::pthread_key_t> {
    *PARKER_KEY.get_or_init(|| new_key(end_of_parking))
}

/// The thread ends.
unsafe extern "C" fn end_of_parking(_value: *mut libc::c_void) {
    // SAFETY: the name that `thread_parker` kept, taken out.
    PARKER.take().into_iter().for_each(|own| unsafe { ThreadRef::from_raw(own) }.end());
}

/// Has goroutines not be preempted while they fork, and forked children forget their scheduler.
///
/// Before a fork allocators take all their locks, to give them back after it. Who holds these must not
/// wait for a P: those who have one may wait for the locks, inside the runtime. So the handler of the
/// preemption signal lets the goroutine be. Its P may be taken meanwhile, as it is outside.
///
/// The one thread of a child is a plain thread, which allocates and enters without a P.
pub(crate) fn see_to_forks() {
    FORK.call_once(|| {
        // SAFETY: the handlers touch the running block's words alone.
        let error = unsafe { libc::pthread_atfork(Some(begin_fork), Some(end_fork), Some(forget)) };
        debug_assert_eq!(error, 0, "there is memory for a handler");
    });
}

extern "C" fn begin_fork() {
    words().set_forks(true);
}

extern "C" fn end_fork() {
    words().set_forks(false);
}

extern "C" fn forget() {
    let words = words();
    words.set_forks(false);
    words.entry.survive_fork();
    // Relaxed, both: the child has one thread.
    words.m.store(null_mut(), Ordering::Relaxed);
    words.g.store(null_mut(), Ordering::Relaxed);
}

/// Records of all plain threads that have ever parked.
pub(crate) fn all_parkers() -> &'static AllParkers {
    &ALL_PARKERS
}

/// The vigils of plain threads.
pub(crate) fn vigils() -> &'static Vigils {
    &VIGILS
}

/// Records of threads that have ended.
pub(crate) fn free_parkers() -> &'static Lock<FreeParkers> {
    &FREE_PARKERS
}

/// Pseudo thread ids begin above every id the kernel can give (`PID_MAX_LIMIT` is 2^22), and must
/// stay below 2^30: futex words keep the owner in their low 30 bits.
#[cfg(own_tls)]
const FIRST_PSEUDO_TID: i32 = 0x40_0000;
#[cfg(own_tls)]
const LAST_PSEUDO_TID: i32 = 0x3fff_ffff;

#[cfg(own_tls)]
static NEXT_PSEUDO_TID: AtomicI32 = AtomicI32::new(FIRST_PSEUDO_TID);

/// A thread id that no kernel thread and no other slot has; `None` after a thousand million slots.
#[cfg(own_tls)]
pub(super) fn pseudo_tid() -> Option<i32> {
    // Relaxed: only the number's uniqueness matters, and an RMW gives that alone.
    NEXT_PSEUDO_TID
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tid| {
            (tid <= LAST_PSEUDO_TID).then(|| tid + 1)
        })
        .ok()
}

/// Calls `f` with the words of the running block.
///
/// ```
/// use sched_core::tls::{Words, with_words};
///
/// // A thread that has nothing to do with any scheduler belongs to no goroutine, and cannot be preempted.
/// assert!(with_words(Words::goroutine).is_null());
/// assert!(with_words(Words::is_inside));
/// ```
#[inline(always)]
pub fn with_words<R>(f: impl FnOnce(&Words) -> R) -> R {
    WORDS.with(f)
}

/// The words of the running block.
///
/// The reference is good for as long as the block is: a caller uses it on the spot and hands it to
/// nobody, which is why this is not public. (A goroutine's block outlives every use of it; a plain
/// thread's ends with the thread.)
#[inline(always)]
pub(crate) fn words() -> &'static Words {
    WORDS.with(|words| {
        // SAFETY: the variable has no destructor, so it is valid until its block is gone; the
        // crate's own code, the only caller, keeps the reference on the stack of that block.
        unsafe { &*core::ptr::from_ref(words) }
    })
}

/// What a thread does after all destructors, and how many rounds of these it still lets pass.
#[derive(Clone, Copy)]
struct LastAct {
    act: unsafe fn(*mut ()),
    argument: *mut (),
    rounds: u32,
}

/// Has `act(argument)` called when this thread ends, after the destructors of its thread-locals and
/// of its pthread keys. False if libc has no key left for it.
///
/// libc runs thread-locals' destructors first, then those of keys, in rounds while any value is
/// left. A key that renews its value comes back in the next round; in the last one it acts.
///
/// # Safety
///
/// `act(argument)` must be sound at the thread's end, on that thread, once. It must not unwind.
pub(crate) unsafe fn set_last_act(act: unsafe fn(*mut ()), argument: *mut ()) -> bool {
    let Some(key) = last_act_key() else { return false };
    LAST_ACT.set(Some(LastAct { act, argument, rounds: DESTRUCTOR_ROUNDS - 1 }));
    renew(key)
}

/// `PTHREAD_DESTRUCTOR_ITERATIONS`, in glibc and in musl.
const DESTRUCTOR_ROUNDS: u32 = 4;

fn last_act_key() -> Option<libc::pthread_key_t> {
    *LAST_ACT_KEY.get_or_init(|| new_key(end_of_round))
}

/// A key of ours; `None` if libc has none left. The destructor takes any value.
fn new_key(destructor: unsafe extern "C" fn(*mut libc::c_void)) -> Option<libc::pthread_key_t> {
    let mut key = 0;
    // SAFETY: the key is ours to write.
    let failed = unsafe { libc::pthread_key_create(&mut key, Some(destructor)) };
    (failed == 0).then_some(key)
}

/// Asks for a call, or one more, of the key's destructor.
fn renew(key: libc::pthread_key_t) -> bool {
    // SAFETY: our key; the value only has to be something.
    unsafe { libc::pthread_setspecific(key, core::ptr::dangling()) == 0 }
}

unsafe extern "C" fn end_of_round(_value: *mut libc::c_void) {
    let (Some(last), Some(key)) = (LAST_ACT.take(), last_act_key()) else { return };
    if last.rounds > 0 && renew(key) {
        LAST_ACT.set(Some(LastAct { rounds: last.rounds - 1, ..last }));
    } else {
        // SAFETY: `set_last_act`'s caller promised that the call is sound here.
        unsafe { (last.act)(last.argument) }
    }
}
