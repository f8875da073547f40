//! Caches of threads that ended, for threads that begin.
//!
//! Threads come and go, and a cache takes a record that is never freed, so the next thread gets what the
//! last one left. A record is in the pool, or one thread's; the pool's lock orders one thread's last use
//! before the next one's first.
//!
//! ```text
//!   begin   lock { pop, or make; it is the owner's }          use
//!   end     empty the cache                    lock { push }
//! ```
//!
//! *A cache is emptied before it lies in the pool*, by its last user: whoever takes it finds no span in it
//! that another thread waits for, and the lock is held for a few instructions only.
//!
//! The pool is generic over the cache and over what it knows of an owner, so that a model can run it:
//! `loom-tests/tests/alloc_thread.rs`.

use core::{fmt, ptr, ptr::NonNull};

use crate::sync::Lock;

/// A cache in the pool or in the hands of an owner. Never freed.
pub struct Pooled<C, W> {
    cache: C,
    /// Next in the pool.
    next: Option<NonNull<Pooled<C, W>>>,
    /// Next of all that were ever made.
    older: Option<NonNull<Pooled<C, W>>>,
    /// What is known of the owner; null in the pool.
    owner: *const W,
}

impl<C, W> Pooled<C, W> {
    /// A record around a new cache, for [`bind`] to hand out.
    pub fn new(cache: C) -> Self {
        Pooled { cache, next: None, older: None, owner: ptr::null() }
    }

    /// The cache of a record of a pool, for whoever may use it. A pointer, as others read the rest of the
    /// record meanwhile ([`Pool::bound`]).
    #[inline(always)]
    pub fn cache(pooled: NonNull<Self>) -> *mut C {
        // SAFETY: records of a pool stay in place; nothing is read.
        unsafe { &raw mut (*pooled.as_ptr()).cache }
    }

    /// What is known of the owner; null in the pool. For the owner, and whoever holds the pool's lock.
    pub fn owner(pooled: NonNull<Self>) -> *const W {
        // SAFETY: records of a pool stay in place, and it is written under the lock, while there is no
        // owner or by it.
        unsafe { (*pooled.as_ptr()).owner }
    }
}

impl<C, W> fmt::Debug for Pooled<C, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// All caches that were ever made, and those that nobody has.
#[derive(Debug)]
pub struct Pool<C, W> {
    free: Option<NonNull<Pooled<C, W>>>,
    newest: Option<NonNull<Pooled<C, W>>>,
}

// SAFETY: caches in the pool are nobody else's, and it is only touched under its lock; owners are compared
// and, by whoever holds the lock, shared.
unsafe impl<C: Send, W> Send for Pool<C, W> {}

impl<C, W> Pool<C, W> {
    /// Without caches.
    #[allow(clippy::new_without_default, reason = "a default cannot be made in a constant")]
    pub const fn new() -> Self {
        Pool { free: None, newest: None }
    }

    /// The caches that owners have, with what is known of each.
    pub fn bound(&self) -> impl Iterator<Item = (NonNull<Pooled<C, W>>, &W)> {
        // SAFETY: records are never freed, and the link is written before others know the record.
        let older = |pooled: &NonNull<Pooled<C, W>>| unsafe { (*pooled.as_ptr()).older };
        core::iter::successors(self.newest, older).filter_map(|pooled| {
            // SAFETY: what is known of an owner stays in place until `unbind` has had the lock.
            let owner = unsafe { Pooled::owner(pooled).as_ref() }?;
            Some((pooled, owner))
        })
    }

    fn pop(&mut self) -> Option<NonNull<Pooled<C, W>>> {
        let mut pooled = self.free?;
        // SAFETY: caches in the pool are nobody else's.
        self.free = unsafe { pooled.as_mut() }.next.take();
        Some(pooled)
    }

    fn push(&mut self, mut pooled: NonNull<Pooled<C, W>>) {
        // SAFETY: the caller gives the cache up.
        let record = unsafe { pooled.as_mut() };
        record.owner = ptr::null();
        record.next = self.free.replace(pooled);
    }

    fn enter(&mut self, mut pooled: NonNull<Pooled<C, W>>) -> NonNull<Pooled<C, W>> {
        // SAFETY: the record was just made, and nobody else knows it.
        unsafe { pooled.as_mut() }.older = self.newest.replace(pooled);
        pooled
    }

    /// In the child of a fork: empties and takes back the caches of the threads that it does not have.
    ///
    /// A cache that its owner was in the middle of using, as `is_whole` tells, is lost, with what it holds. One that
    /// `stays` its owner's is emptied only.
    ///
    /// # Safety
    ///
    /// The caller is the only thread, the child's, whose cache is that of `own`.
    pub unsafe fn adopt_orphans(
        &mut self,
        own: *const W,
        is_whole: impl Fn(NonNull<Pooled<C, W>>) -> bool,
        stays: impl Fn(&W) -> bool,
        empty: impl Fn(&mut C),
    ) {
        let mut next = self.newest;
        while let Some(mut pooled) = next {
            // SAFETY: records are never freed, and the threads that used them are not here.
            let record = unsafe { pooled.as_mut() };
            next = record.older;
            if record.owner.is_null() || ptr::eq(record.owner, own) {
                continue;
            }
            let whole = is_whole(pooled);
            if whole {
                empty(&mut record.cache);
            }
            // SAFETY: not null; what is known of an owner stays in place until `unbind`.
            if unsafe { stays(&*record.owner) } {
                continue;
            }
            record.owner = ptr::null();
            if whole {
                self.push(pooled);
            }
        }
    }
}

/// A cache for `owner`, empty: out of the pool, or of what `make` gives.
///
/// `make` gives a record that stays in place for as long as the pool, or `None` if there is no memory.
pub fn bind<C, W>(
    pool: &Lock<Pool<C, W>>,
    owner: *const W,
    make: impl FnOnce() -> Option<NonNull<Pooled<C, W>>>,
) -> Option<NonNull<Pooled<C, W>>> {
    let mut pool = pool.lock();
    let mut pooled = match pool.pop() {
        Some(pooled) => pooled,
        None => pool.enter(make()?),
    };
    // SAFETY: out of the pool, it is ours.
    unsafe { pooled.as_mut() }.owner = owner;
    Some(pooled)
}

/// The owner gives a cache up, for good: it is emptied, and then lies in the pool.
///
/// # Safety
///
/// The cache came from [`bind`] of this pool, and the caller, its owner, uses it no more.
pub unsafe fn unbind<C, W>(
    pool: &Lock<Pool<C, W>>,
    pooled: NonNull<Pooled<C, W>>,
    empty: impl FnOnce(&mut C),
) {
    // SAFETY: promised by the caller.
    empty(unsafe { &mut *Pooled::cache(pooled) });
    pool.lock().push(pooled);
}
