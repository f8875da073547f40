//! Parking: one permit per goroutine and per plain thread, one handle for both.
//!
//! # Problem
//!
//! Channels, locks and joins are written once and used by goroutines and by plain threads alike: a
//! `main` that is no goroutine waits for one, a foreign thread sends into a channel. All of them
//! want what `std::thread::park` offers: *park until somebody unparks me; an unpark that came
//! first is kept*. Std's own cannot be used: its futex would block the M, and its permit may be
//! spent by other users of the same thread.
//!
//! # Words
//!
//! A [`Waiter`] names who waits: a goroutine of any scheduler, or a thread. A *permit* is what
//! [`Waiter::unpark`] leaves and [`park`] uses up; there is at most one, so two unparks before a
//! park count once. Every wait is therefore a loop over a condition of one's own:
//!
//! ```
//! use sched_core::park::{self, WaitReason};
//! use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
//!
//! let done = Arc::new(AtomicBool::new(false));
//! let (flag, waiter) = (Arc::clone(&done), park::current());
//! let other = std::thread::spawn(move || {
//!     flag.store(true, Ordering::Release);
//!     waiter.unpark();
//! });
//! while !done.load(Ordering::Acquire) {
//!     park::park(WaitReason::Park);
//! }
//! # other.join().unwrap();
//! ```
//!
//! # How
//!
//! A goroutine parks by switching away; what publishes it as parked runs after the switch
//! (`worker`). A thread parks on a futex word of its own. The record of a thread's
//! permit must live as long as any `Waiter` that names it, so it is counted, and it is recycled and
//! not freed: the last `Waiter` may be dropped inside the runtime, where no allocator is called.
//!
//! # Rejected
//!
//! A wait queue per condition (as `parking_lot`): one global table of locks, and nothing that a
//! `select` over several conditions could use.

pub use crate::reason::WaitReason;

use core::{
    fmt,
    mem::ManuallyDrop,
    ptr::NonNull,
    sync::atomic::AtomicI32,
    task::{RawWaker, RawWakerVTable, Waker},
    time::Duration,
};
use std::time::Instant;

use crate::{
    error::fatal,
    future::waker::FutureRef,
    goroutine,
    parker::{self, Parker},
    shared::Shared,
    sync::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence, now},
    task::TaskRef,
    tls,
};

/// How [`park_until`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a wait with a deadline must tell which of the two came"]
pub enum Woken {
    /// There was a permit; it is used up.
    Unparked,
    /// The deadline has passed. (A permit that came at the same moment may be used up with it: look
    /// at what you wait for in either case.)
    Timeout,
}

/// Somebody who waits, or may: the goroutine or the plain thread that called [`current`], or one of our
/// futures ([`of_waker`](Waiter::of_waker)). For a future an unpark is a wake.
#[derive(Clone)]
pub struct Waiter(Who);

#[derive(Clone)]
enum Who {
    Goroutine(TaskRef),
    Thread(ThreadRef),
    Future(FutureRef),
}

/// The waiter that the calling goroutine or thread is.
pub fn current() -> Waiter {
    match goroutine::current_task() {
        Some(task) => Waiter(Who::Goroutine(task)),
        None => Waiter(Who::Thread(ThreadRef::current())),
    }
}

/// Waits until somebody has called [`Waiter::unpark`] for the caller, and uses that permit up.
/// Returns at once if the permit is there.
///
/// Must not be called while an [`Entered`](crate::entry::Entered) of the caller is alive.
pub fn park(reason: WaitReason) {
    if goroutine::on_goroutine() {
        goroutine::park(reason);
    } else {
        ThreadRef::current().park(None);
    }
}

/// As [`park`], until `deadline` at the latest. A goroutine's deadline is kept by the scheduler's
/// timer thread: a few tens of microseconds late on an idle machine.
pub fn park_until(reason: WaitReason, deadline: Instant) -> Woken {
    let at = nanos(deadline);
    let unparked = if goroutine::on_goroutine() {
        goroutine::park_until(reason, at)
    } else {
        ThreadRef::current().park(Some(at))
    };
    if unparked { Woken::Unparked } else { Woken::Timeout }
}

/// The deadline on the clock of [`now`]; one in the past is now.
pub(crate) fn nanos(deadline: Instant) -> u64 {
    let left: Duration = deadline.saturating_duration_since(Instant::now());
    now().saturating_add(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX))
}

impl Waiter {
    /// Leaves a permit: lets the waiter's [`park`] return, now or when it is called.
    ///
    /// Everything that the caller did before is visible to the waiter after its `park`. Does
    /// nothing once the goroutine or thread has ended. Never blocks.
    pub fn unpark(&self) {
        match &self.0 {
            Who::Goroutine(task) => goroutine::unpark(task),
            Who::Thread(thread) => thread.unpark(),
            Who::Future(future) => future.wake(),
        }
    }

    /// The waiter that `waker` is, if it is of this crate. The waker keeps it.
    fn behind(waker: &Waker) -> Option<ManuallyDrop<Self>> {
        let (data, vtable) = (waker.data(), core::ptr::from_ref(waker.vtable()));
        if core::ptr::eq(vtable, &GOROUTINE) {
            Some(goroutine_of(data))
        } else if core::ptr::eq(vtable, &THREAD) {
            Some(thread_of(data))
        } else {
            FutureRef::behind(waker)
                .map(|future| ManuallyDrop::new(Self::of_future(ManuallyDrop::into_inner(future))))
        }
    }

    /// Who is woken by `waker`, if it is of this crate: a future of a scheduler's, or a waiter that was
    /// made into a waker.
    pub fn of_waker(waker: &Waker) -> Option<Self> {
        Self::behind(waker).map(|waiter| (*waiter).clone())
    }

    pub(crate) fn of_future(future: FutureRef) -> Self {
        Waiter(Who::Future(future))
    }

    /// As [`unpark`](Self::unpark), from the timer thread of `shared`, which then sees to it that those of
    /// its own that it has woken need not wait for a slice to end.
    pub(crate) fn unpark_due(&self, shared: &Shared) {
        match &self.0 {
            Who::Goroutine(task) if core::ptr::eq(task.shared(), shared) => {
                goroutine::unpark_due(task);
            }
            Who::Future(future) if core::ptr::eq(&**future.header().shared(), shared) => {
                future.wake_due();
            }
            _ => self.unpark(),
        }
    }

    /// Whether both name the same goroutine or thread.
    pub fn same(&self, other: &Waiter) -> bool {
        match (&self.0, &other.0) {
            (Who::Goroutine(a), Who::Goroutine(b)) => a.same(b),
            (Who::Thread(a), Who::Thread(b)) => a.0 == b.0,
            (Who::Future(a), Who::Future(b)) => a.same(b),
            _ => false,
        }
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Who::Goroutine(task) => write!(f, "Waiter(goroutine {})", task.id()),
            Who::Thread(thread) => write!(f, "Waiter(thread {:p})", thread.0),
            Who::Future(future) => write!(f, "Waiter(future {})", future.header().birth.id),
        }
    }
}

/// The waker of whom an unpark is enough: whoever waits in a loop over a condition of its own. It
/// allocates nothing.
impl From<Waiter> for Waker {
    fn from(waiter: Waiter) -> Self {
        let raw = match waiter.0 {
            Who::Goroutine(task) => RawWaker::new(task.into_raw().as_ptr().cast(), &GOROUTINE),
            Who::Thread(thread) => {
                RawWaker::new(ManuallyDrop::new(thread).0.as_ptr().cast(), &THREAD)
            }
            Who::Future(future) => return future.into_waker(),
        };
        // SAFETY: the functions of each table fit its pointer, count what is cloned and dropped, and may
        // be called on any thread.
        unsafe { Waker::from_raw(raw) }
    }
}

/// A waker of this crate is a waiter, whose unpark and drop, unlike any waker's, may be called inside the
/// runtime. Another one is given back.
impl TryFrom<Waker> for Waiter {
    type Error = Waker;

    fn try_from(waker: Waker) -> Result<Self, Waker> {
        match Waiter::behind(&waker) {
            Some(waiter) => {
                core::mem::forget(waker);
                Ok(ManuallyDrop::into_inner(waiter))
            }
            None => Err(waker),
        }
    }
}

static GOROUTINE: RawWakerVTable = RawWakerVTable::new(
    |data| raw_clone(&goroutine_of(data)),
    |data| ManuallyDrop::into_inner(goroutine_of(data)).unpark(),
    |data| goroutine_of(data).unpark(),
    |data| drop(ManuallyDrop::into_inner(goroutine_of(data))),
);

static THREAD: RawWakerVTable = RawWakerVTable::new(
    |data| raw_clone(&thread_of(data)),
    |data| ManuallyDrop::into_inner(thread_of(data)).unpark(),
    |data| thread_of(data).unpark(),
    |data| drop(ManuallyDrop::into_inner(thread_of(data))),
);

fn raw_clone(waiter: &Waiter) -> RawWaker {
    let waker = ManuallyDrop::new(Waker::from(waiter.clone()));
    RawWaker::new(waker.data(), waker.vtable())
}

/// The waiter that `data` of a waker with the table [`GOROUTINE`] is. The waker keeps it.
fn goroutine_of(data: *const ()) -> ManuallyDrop<Waiter> {
    let task = NonNull::new(data.cast_mut().cast()).expect("a waker names its goroutine");
    // SAFETY: from `into_raw`; it is not dropped here.
    ManuallyDrop::new(Waiter(Who::Goroutine(unsafe { TaskRef::from_raw(task) })))
}

/// As [`goroutine_of`], for [`THREAD`].
fn thread_of(data: *const ()) -> ManuallyDrop<Waiter> {
    let parker = NonNull::new(data.cast_mut().cast()).expect("a waker names its thread");
    ManuallyDrop::new(Waiter(Who::Thread(ThreadRef(parker))))
}

/// The permit of one plain thread, and where it sleeps.
#[derive(Debug)]
pub(crate) struct ThreadParker {
    parker: Parker,
    /// The kernel's number of the thread; 0 if it has ended.
    tid: AtomicI32,
    /// Whether it sleeps without a deadline, or is about to, or has just been woken.
    for_ever: AtomicBool,
    /// How often it was woken; counted before each waking.
    wakings: AtomicU64,
    /// The record made before this one; constant.
    older: AtomicPtr<ThreadParker>,
    /// The thread itself, and each `Waiter`.
    references: AtomicU32,
    /// The next free record, while this one is free.
    next: AtomicPtr<ThreadParker>,
}

/// Records that no thread uses, last in, first out.
#[derive(Debug)]
pub(crate) struct FreeParkers(*mut ThreadParker);

// SAFETY: the records are never freed, and each in the list is the list's alone.
unsafe impl Send for FreeParkers {}

impl FreeParkers {
    pub(crate) const fn new() -> Self {
        Self(core::ptr::null_mut())
    }

    fn pop(&mut self) -> Option<NonNull<ThreadParker>> {
        let parker = NonNull::new(self.0)?;
        // SAFETY: records are never freed.
        let record = unsafe { parker.as_ref() };
        // Relaxed: the lock around the list orders.
        self.0 = record.next.load(Ordering::Relaxed);
        Some(parker)
    }

    fn push(&mut self, parker: NonNull<ThreadParker>) {
        // SAFETY: records are never freed.
        let record = unsafe { parker.as_ref() };
        // Relaxed: the lock around the list orders.
        record.next.store(self.0, Ordering::Relaxed);
        self.0 = parker.as_ptr();
    }
}

/// A counted reference to a thread's record.
#[derive(PartialEq, Eq)]
pub(crate) struct ThreadRef(NonNull<ThreadParker>);

// SAFETY: the record is made of atomics and lives while it is counted.
unsafe impl Send for ThreadRef {}
// SAFETY: as above.
unsafe impl Sync for ThreadRef {}

impl ThreadParker {
    fn new() -> Self {
        Self {
            parker: Parker::new(),
            tid: AtomicI32::new(0),
            for_ever: AtomicBool::new(false),
            wakings: AtomicU64::new(0),
            older: AtomicPtr::new(core::ptr::null_mut()),
            references: AtomicU32::new(1),
            next: AtomicPtr::new(core::ptr::null_mut()),
        }
    }
}

impl ThreadRef {
    /// The running thread's record, made at its first use.
    fn current() -> Self {
        tls::thread_parker(Self::fresh)
    }

    /// A record that nobody else knows, recycled if there is one.
    fn fresh() -> Self {
        let fresh = Self::recycled_or_new();
        // SAFETY: no memory is passed.
        let tid = unsafe { libc::gettid() };
        // Relaxed: for `Sleepers`, which looks twice.
        fresh.record().tid.store(tid, Ordering::Relaxed);
        fresh
    }

    fn recycled_or_new() -> Self {
        let free = tls::free_parkers().lock().pop();
        match free {
            Some(parker) => {
                // SAFETY: a record on the free list is never freed, and now it is ours alone.
                let record = unsafe { parker.as_ref() };
                // A permit that its former thread never used up.
                let _ = record.parker.park_until(0);
                // Relaxed: nobody else knows this record until it is handed out.
                record.references.store(1, Ordering::Relaxed);
                Self(parker)
            }
            None => {
                let record: &'static ThreadParker = Box::leak(Box::new(ThreadParker::new()));
                tls::all_parkers().push(record);
                Self(NonNull::from(record))
            }
        }
    }

    fn record(&self) -> &ThreadParker {
        // SAFETY: records are never freed.
        unsafe { self.0.as_ref() }
    }

    /// Sleeps until there is a permit; false if the deadline came first.
    fn park(&self, deadline: Option<u64>) -> bool {
        let parker = &self.record().parker;
        match deadline {
            None => {
                // Relaxed, both: the parker's word says whether it sleeps; see `Sleepers`.
                self.record().for_ever.store(true, Ordering::Relaxed);
                parker.park();
                self.record().for_ever.store(false, Ordering::Relaxed);
            }
            Some(at) => return parker.park_until(at) == parker::Woken::Unparked,
        }
        true
    }

    fn unpark(&self) {
        // Relaxed: ordered before the permit by the parker's Release.
        self.record().wakings.fetch_add(1, Ordering::Relaxed);
        self.record().parker.unpark();
    }
}

impl Clone for ThreadRef {
    fn clone(&self) -> Self {
        // Relaxed: a new reference is made from one that exists.
        let before = self.record().references.fetch_add(1, Ordering::Relaxed);
        // As `Arc`: a count that comes round would give a record in use to another thread.
        if before > u32::MAX / 2 {
            fatal(format_args!("a thread has too many waiters: they leak"));
        }
        Self(self.0)
    }
}

impl Drop for ThreadRef {
    fn drop(&mut self) {
        // Release: our uses of the record happen before its recycling; pairs with the fence.
        if self.record().references.fetch_sub(1, Ordering::Release) == 1 {
            // Acquire: the uses of all others happen before, too.
            fence(Ordering::Acquire);
            tls::free_parkers().lock().push(self.0);
        }
    }
}

/// All records of plain threads there ever were, newest first.
#[derive(Debug)]
pub(crate) struct AllParkers(AtomicPtr<ThreadParker>);

impl AllParkers {
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    fn push(&self, record: &'static ThreadParker) {
        let new = core::ptr::from_ref(record).cast_mut();
        // Relaxed: a guess; the exchange settles it.
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            // Relaxed: published by the exchange.
            record.older.store(head, Ordering::Relaxed);
            // Release: the record; pairs with the Acquire in `iter`.
            match self.0.compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = &'static ThreadParker> {
        // Acquire: pairs with the Release in `push`.
        let mut next = self.0.load(Ordering::Acquire);
        core::iter::from_fn(move || {
            // SAFETY: null, or a leaked record.
            let record = unsafe { next.cast_const().as_ref() }?;
            // Relaxed: written before the record was pushed, and constant since.
            next = record.older.load(Ordering::Relaxed);
            Some(record)
        })
    }
}

/// Plain threads of the process that sleep in [`park`] and have no deadline, and how often threads were
/// woken so far. One look proves nothing; see [`asleep`](crate::asleep).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sleepers {
    pub(crate) tids: Vec<i32>,
    pub(crate) wakings: u64,
}

impl Sleepers {
    pub(crate) fn look() -> Self {
        let all = || tls::all_parkers().iter();
        // The parker's word first: a flag of an earlier sleep is not taken for that of this one.
        // Relaxed, both: the word was acquired.
        let for_ever = |record: &&ThreadParker| {
            record.parker.is_asleep() && record.for_ever.load(Ordering::Relaxed)
        };
        let tids =
            all().filter(for_ever).map(|record| record.tid.load(Ordering::Relaxed)).collect();
        // Relaxed: every waking by one that was seen asleep is among them, as the words were acquired.
        let wakings = all().map(|record| record.wakings.load(Ordering::Relaxed)).sum();
        Sleepers { tids, wakings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_kept_and_counts_once() {
        let me = current();
        me.unpark();
        me.unpark();
        park(WaitReason::Park);
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(park_until(WaitReason::Park, soon), Woken::Timeout);
    }

    #[test]
    fn a_timeout_leaves_no_permit_and_takes_none_later() {
        let me = current();
        assert_eq!(park_until(WaitReason::Park, Instant::now()), Woken::Timeout);
        me.unpark();
        assert_eq!(park_until(WaitReason::Park, Instant::now()), Woken::Unparked);
    }

    /// Whether a forked child that calls `f` aborts.
    fn aborts(f: impl FnOnce()) -> bool {
        // SAFETY: the child calls `f`, which uses atomics and writes a line, and ends.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                f();
                libc::_exit(0);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT
        }
    }

    #[test]
    fn waiters_that_leak_without_end_do_not_come_round() {
        let thread = ThreadRef::fresh();
        let cloned_at = |names| {
            thread.record().references.store(names, Ordering::Relaxed);
            core::mem::forget(thread.clone());
        };
        assert!(!aborts(|| cloned_at(1 << 20)));
        assert!(aborts(|| cloned_at(u32::MAX)));
    }

    #[test]
    fn waiters_outlive_their_thread() {
        let waiter = std::thread::spawn(current).join().expect("the thread ends");
        waiter.unpark();
        let again = waiter.clone();
        assert!(again.same(&waiter) && !again.same(&current()));
    }

    #[test]
    fn threads_hand_a_token_to_and_fro() {
        use std::sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        };
        const ROUNDS: usize = 2_000;
        let turn = Arc::new(AtomicUsize::new(0));
        let (theirs, first) = (Arc::clone(&turn), current());
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(current()).expect("the first thread listens");
            for round in 0..ROUNDS {
                while theirs.load(Ordering::Acquire) != 2 * round + 1 {
                    park(WaitReason::Park);
                }
                theirs.store(2 * round + 2, Ordering::Release);
                first.unpark();
            }
        });
        let second = told.recv().expect("the second thread says who it is");
        for round in 0..ROUNDS {
            turn.store(2 * round + 1, Ordering::Release);
            second.unpark();
            while turn.load(Ordering::Acquire) != 2 * round + 2 {
                park(WaitReason::Park);
            }
        }
        thread.join().expect("the second thread ends");
    }
}
