//! Caches of threads that ended, for threads that begin.
//!
//! Threads come and go, and a cache takes a record that is never freed, so the next thread gets what the
//! last one left. A record is in the pool, or one thread's; the pool's lock orders one thread's last use
//! before the next one's first.
//!
//! ```text
//!   begin   lock { pop a warm one, else an empty one, else make one; it is the owner's }    use
//!   end     pack        lock { room: push, warm }     no room: empty      lock { push, empty }
//!   rest    lock { empty the warm ones that have lain there since the last call }
//! ```
//!
//! # Warm caches
//!
//! A thread that begins needs cells of some thirty classes, and so will the next one. If each of them empties
//! its cache at the end, each takes a magazine, a span, pages, and locks for all of them, for each class
//! again; and the pages come back to it in another order, until all of them have been touched. So the last caches
//! stay *warm*: packed, as `pack` leaves them, which keeps what the next thread begins with and
//! leaves the rest to everybody.
//!
//! Nobody else can use what lies in a warm cache. So there are [`WARM`] at most, each of bounded size, and the
//! scavenger empties those that lie there for a step, as it does with caches of threads that do nothing.
//!
//! The pool is generic over the cache and over what it knows of an owner, so that a model can run it:
//! `loom-tests/tests/alloc_thread.rs`.

use core::{fmt, mem, ptr, ptr::NonNull};

use crate::sync::Lock;

/// Caches that stay warm.
pub const WARM: usize = if cfg!(loom) { 1 } else { 4 };

/// A cache in the pool or in the hands of an owner. Never freed. The cache lies first, so that its parts are found
/// from the record's address.
#[repr(C)]
pub struct Pooled<C, W> {
    cache: C,
    /// It lay in the pool, warm, when that was last asked for what rests.
    rested: bool,
    /// Next in the pool.
    next: Option<NonNull<Pooled<C, W>>>,
    /// Next of all that were ever made.
    older: Option<NonNull<Pooled<C, W>>>,
    /// What is known of the owner; null in the pool, and while nothing is known.
    owner: *const W,
}

impl<C, W> Pooled<C, W> {
    /// A record around a new cache, for [`bind`] to hand out.
    pub fn new(cache: C) -> Self {
        Pooled { cache, rested: false, next: None, older: None, owner: ptr::null() }
    }

    /// The cache of a record of a pool, for whoever may use it. A pointer, as others read the rest of the
    /// record meanwhile ([`Pool::bound`]).
    #[inline(always)]
    pub fn cache(pooled: NonNull<Self>) -> *mut C {
        // SAFETY: records of a pool stay in place; nothing is read.
        unsafe { &raw mut (*pooled.as_ptr()).cache }
    }

    /// What is known of the owner; null in the pool, and while nothing is known. For the owner, and whoever holds the
    /// pool's lock.
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

/// Caches that nobody has, linked by `next`.
#[derive(Debug)]
struct Stack<C, W> {
    top: Option<NonNull<Pooled<C, W>>>,
    len: usize,
}

impl<C, W> Stack<C, W> {
    const EMPTY: Self = Stack { top: None, len: 0 };

    fn pop(&mut self) -> Option<NonNull<Pooled<C, W>>> {
        let mut pooled = self.top?;
        // SAFETY: caches in the pool are nobody else's.
        self.top = unsafe { pooled.as_mut() }.next.take();
        self.len -= 1;
        Some(pooled)
    }

    /// The caller gives the cache up.
    fn push(&mut self, mut pooled: NonNull<Pooled<C, W>>) {
        // SAFETY: given up, it is nobody's but ours.
        unsafe { pooled.as_mut() }.next = self.top.replace(pooled);
        self.len += 1;
    }
}

/// All caches that were ever made, and those that nobody has.
#[derive(Debug)]
pub struct Pool<C, W> {
    /// Packed by their last users, [`WARM`] at most.
    warm: Stack<C, W>,
    /// Emptied.
    empty: Stack<C, W>,
    newest: Option<NonNull<Pooled<C, W>>>,
}

// SAFETY: caches in the pool are nobody else's, and it is only touched under its lock; owners are compared
// and, by whoever holds the lock, shared.
unsafe impl<C: Send, W> Send for Pool<C, W> {}

impl<C, W> Pool<C, W> {
    /// Without caches.
    #[allow(clippy::new_without_default, reason = "a default cannot be made in a constant")]
    pub const fn new() -> Self {
        Pool { warm: Stack::EMPTY, empty: Stack::EMPTY, newest: None }
    }

    /// The caches of owners of which something is known, with that.
    pub fn bound(&self) -> impl Iterator<Item = (NonNull<Pooled<C, W>>, &W)> {
        // SAFETY: records are never freed, and the link is written before others know the record.
        let older = |pooled: &NonNull<Pooled<C, W>>| unsafe { (*pooled.as_ptr()).older };
        core::iter::successors(self.newest, older).filter_map(|pooled| {
            // SAFETY: what is known of an owner stays in place until `make_unknown` or `unbind` has had the lock.
            let owner = unsafe { Pooled::owner(pooled).as_ref() }?;
            Some((pooled, owner))
        })
    }

    /// Empties the warm caches that lay here when this was last called, or all of them. Returns whether any stays
    /// warm.
    pub fn empty_rested(&mut self, all: bool, mut empty: impl FnMut(&mut C)) -> bool {
        let mut warm = mem::replace(&mut self.warm, Stack::EMPTY);
        while let Some(mut pooled) = warm.pop() {
            // SAFETY: out of the stack, it is ours.
            let record = unsafe { pooled.as_mut() };
            if mem::replace(&mut record.rested, true) || all {
                empty(&mut record.cache);
                self.empty.push(pooled);
            } else {
                self.warm.push(pooled);
            }
        }
        self.warm.len > 0
    }

    /// Takes a cache as its user left it; `false` if there is no room for it.
    fn keep(&mut self, mut pooled: NonNull<Pooled<C, W>>) -> bool {
        let room = self.warm.len < WARM;
        if room {
            // SAFETY: the caller gives the cache up.
            let record = unsafe { pooled.as_mut() };
            (record.owner, record.rested) = (ptr::null(), false);
            self.warm.push(pooled);
        }
        room
    }

    /// Takes an empty cache back.
    fn push(&mut self, mut pooled: NonNull<Pooled<C, W>>) {
        // SAFETY: the caller gives the cache up.
        unsafe { pooled.as_mut() }.owner = ptr::null();
        self.empty.push(pooled);
    }

    fn enter(&mut self, mut pooled: NonNull<Pooled<C, W>>) -> NonNull<Pooled<C, W>> {
        // SAFETY: the record was just made, and nobody else knows it.
        unsafe { pooled.as_mut() }.older = self.newest.replace(pooled);
        pooled
    }

    /// In the child of a fork: empties and takes back the caches of the threads that it does not have.
    ///
    /// A cache that its owner was in the middle of using, as `is_whole` tells, is lost, with what it holds; so is one of
    /// whose owner nothing is known. One that `stays` its owner's is emptied only.
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
            // SAFETY: not null; what is known of an owner stays in place until the pool forgets it.
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

/// A cache for `owner`: out of the pool, as another left it or empty, or of what `make` gives. With null for `owner`
/// nobody but the caller finds it, until [`make_known`].
///
/// `make` gives a record that stays in place for as long as the pool, or `None` if there is no memory.
pub fn bind<C, W>(
    pool: &Lock<Pool<C, W>>,
    owner: *const W,
    make: impl FnOnce() -> Option<NonNull<Pooled<C, W>>>,
) -> Option<NonNull<Pooled<C, W>>> {
    let mut pool = pool.lock();
    let mut pooled = match pool.warm.pop().or_else(|| pool.empty.pop()) {
        Some(pooled) => pooled,
        None => pool.enter(make()?),
    };
    // SAFETY: out of the pool, it is ours.
    unsafe { pooled.as_mut() }.owner = owner;
    Some(pooled)
}

/// The pool knows an owner from now on, which must stay in place until [`make_unknown`] or [`unbind`].
///
/// # Safety
///
/// The cache came from [`bind`] of this pool, and is the caller's; while `owner` stays in place, as above.
pub unsafe fn make_known<C, W>(
    pool: &Lock<Pool<C, W>>,
    mut pooled: NonNull<Pooled<C, W>>,
    owner: *const W,
) {
    let _pool = pool.lock();
    // SAFETY: the caller's, and others read it with the lock only.
    unsafe { pooled.as_mut() }.owner = owner;
}

/// The pool forgets an owner, who keeps the cache. Whoever looks at what was known does so under the pool's lock, and
/// is done when this returns.
///
/// # Safety
///
/// The cache came from [`bind`] of this pool, and is the caller's.
pub unsafe fn make_unknown<C, W>(pool: &Lock<Pool<C, W>>, pooled: NonNull<Pooled<C, W>>) {
    // SAFETY: the caller's; and null needs no place to stay.
    unsafe { make_known(pool, pooled, ptr::null()) }
}

/// The owner gives a cache up, for good: packed, or emptied if enough others lie in the pool as they are.
///
/// # Safety
///
/// The cache came from [`bind`] of this pool, and the caller, its owner, uses it no more.
pub unsafe fn unbind<C, W>(
    pool: &Lock<Pool<C, W>>,
    pooled: NonNull<Pooled<C, W>>,
    pack: impl FnOnce(&mut C),
    empty: impl FnOnce(&mut C),
) {
    // SAFETY: promised by the caller.
    pack(unsafe { &mut *Pooled::cache(pooled) });
    if pool.lock().keep(pooled) {
        return;
    }
    // SAFETY: it is still the caller's.
    empty(unsafe { &mut *Pooled::cache(pooled) });
    pool.lock().push(pooled);
}
