//! Plain threads that park: a counted record for each, kept for ever and used again.
//!
//! A record outlives its thread as long as any `Waiter` names it. It is never freed: the last name may be
//! dropped inside the runtime, where no allocator is called; and who looks for a deadlock walks over all
//! records there ever were ([`Sleepers`]).

use core::{
    mem::ManuallyDrop,
    ptr::{self, NonNull},
    sync::atomic::AtomicI32,
};

use crate::{
    entry::enter,
    error::fatal,
    parker,
    sleeper::Sleeper,
    sync::{AtomicBool, AtomicPtr, AtomicU32, Ordering, fence},
    tls,
    vigil::Vigil,
};

/// The permit of one plain thread, and where it sleeps.
#[derive(Debug)]
pub(crate) struct ThreadParker {
    sleeper: Sleeper,
    /// The kernel's number of the thread; 0 if it has ended.
    tid: AtomicI32,
    /// Whether the thread is told when others fall asleep.
    pub(super) vigil: Vigil,
    /// Whether nobody is told when this one does: it wakes nobody of its own accord.
    adopted: AtomicBool,
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
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ThreadRef(pub(super) NonNull<ThreadParker>);

// SAFETY: the record is made of atomics and lives while it is counted.
unsafe impl Send for ThreadRef {}
// SAFETY: as above.
unsafe impl Sync for ThreadRef {}

/// The calling thread, a plain one, wakes nobody of its own accord.
pub(crate) fn adopt_thread() {
    // Relaxed: see `tell`.
    ThreadRef::current().record().adopted.store(true, Ordering::Relaxed);
}

impl ThreadParker {
    fn new() -> Self {
        Self {
            sleeper: Sleeper::new(),
            tid: AtomicI32::new(0),
            vigil: Vigil::new(),
            adopted: AtomicBool::new(false),
            older: AtomicPtr::new(core::ptr::null_mut()),
            references: AtomicU32::new(1),
            next: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Whether it wakes nobody of its own accord. For the thread itself.
    pub(super) fn is_adopted(&self) -> bool {
        // Relaxed: written by the thread itself.
        self.adopted.load(Ordering::Relaxed)
    }

    #[cold]
    fn tell_others(&self) {
        let others = tls::all_parkers().iter().filter(|other| !ptr::eq(*other, self));
        others
            .filter(|other| tls::vigils().end(&other.vigil))
            .for_each(|other| other.sleeper.unpark());
    }
}

impl ThreadRef {
    /// The running thread's record, made at its first use.
    pub(super) fn current() -> Self {
        tls::thread_parker(Self::fresh)
    }

    /// A record that nobody else knows, recycled if there is one.
    fn fresh() -> Self {
        let fresh = Self::recycled_or_new();
        // SAFETY: no memory is passed.
        let tid = unsafe { libc::gettid() };
        // Relaxed: for `Sleepers`, which looks twice.
        fresh.record().tid.store(tid, Ordering::Relaxed);
        // Relaxed: read by the thread itself.
        fresh.record().adopted.store(false, Ordering::Relaxed);
        fresh
    }

    fn recycled_or_new() -> Self {
        let free = tls::free_parkers().lock().pop();
        match free {
            Some(parker) => {
                // SAFETY: a record on the free list is never freed, and now it is ours alone.
                let record = unsafe { parker.as_ref() };
                // A permit that its former thread never used up.
                let _ = record.sleeper.park_until(0);
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

    /// Gives the name up for the pointer.
    pub(crate) fn into_raw(self) -> NonNull<ThreadParker> {
        ManuallyDrop::new(self).0
    }

    /// # Safety
    ///
    /// The pointer came from [`into_raw`](Self::into_raw), and is used up.
    pub(crate) unsafe fn from_raw(own: NonNull<ThreadParker>) -> Self {
        Self(own)
    }

    /// A further name of a record that has one.
    ///
    /// # Safety
    ///
    /// The pointer came from [`into_raw`](Self::into_raw), and is not used up during the call.
    pub(crate) unsafe fn further(own: NonNull<ThreadParker>) -> Self {
        Self::clone(&ManuallyDrop::new(Self(own)))
    }

    pub(super) fn record(&self) -> &ThreadParker {
        // SAFETY: records are never freed.
        unsafe { self.0.as_ref() }
    }

    /// Sleeps until there is a permit; false if the deadline came first.
    pub(super) fn park(&self, deadline: Option<u64>) -> bool {
        let sleeper = &self.record().sleeper;
        match deadline {
            None => {
                sleeper.park_and(|| self.tell());
                true
            }
            Some(at) => sleeper.park_until(at) == parker::Woken::Unparked,
        }
    }

    pub(super) fn unpark(&self) {
        self.record().sleeper.unpark();
    }

    /// The thread ends, and gives its name up.
    pub(crate) fn end(self) {
        self.tell();
    }

    /// The thread sleeps, or ends: whoever keeps vigil hears of it.
    fn tell(&self) {
        let own = self.record();
        if !own.is_adopted() && tls::vigils().any() {
            own.tell_others();
        }
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
            // A goroutine that is set aside with the lock would keep all others from it. On a plain thread this
            // does nothing, as long as there is a thread.
            let _entered = enter();
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
/// woken so far. One look proves nothing; see [`lull`](crate::lull).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sleepers {
    pub(crate) tids: Vec<i32>,
    pub(crate) wakings: u64,
}

impl Sleepers {
    pub(crate) fn look() -> Self {
        let all = || tls::all_parkers().iter();
        let asleep = all().filter(|record| record.sleeper.sleeps_for_ever());
        // Relaxed: written before the sleep that was seen.
        let tids = asleep.map(|record| record.tid.load(Ordering::Relaxed)).collect();
        // All that those did who were seen asleep is in the counts.
        let wakings = all().map(|record| record.sleeper.wakings()).sum();
        Sleepers { tids, wakings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
