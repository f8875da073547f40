//! A cache for each processor of a scheduler, which may be lent like that of a thread.
//!
//! Who runs on a processor uses its cache; the scheduler orders one user's last use before the next one's first.
//! A processor on which nothing runs keeps what lies in its cache, as an idle thread does. So it has the same
//! words and is known to the same pool: the scavenger sees that nobody took a turn since its last step, asks, and
//! empties the cache ([`lend`](crate::lend)), whether or not the scheduler knows that the processor is idle. Who
//! comes back in that moment is served from the emergency heap.
//!
//! In the child of a fork the words stay as they are, and with them the cache: the caller may be a task that goes
//! on with it. What lies in it is given to the child, unless its user was in the middle of an allocation.
//!
//! Rejected: *the scheduler empties the cache of a processor that becomes idle*: it may be wanted again within a
//! microsecond. *The scavenger takes an idle processor as a worker would*: the worker that is woken at that
//! moment finds none.

use core::{fmt, ptr::NonNull};

use super::{
    GlobalCache, POOL,
    thread::{give_to_pool, make, use_cache},
    words::Words,
};
use crate::{cache_pool, undisturbed::Undisturbed};

/// The place of a processor's cache.
///
/// ```
/// use alloc_core::global::ProcessorCache;
/// use std::alloc::Layout;
///
/// let processor = Box::new(ProcessorCache::new());
/// // SAFETY: it stays in its box, and this thread alone uses it.
/// let block = unsafe {
///     assert!(processor.bind());
///     processor.with(|cache| cache.alloc(Layout::new::<u64>()))
/// };
/// assert!(block.unwrap().is_ok());
/// ```
pub struct ProcessorCache {
    words: Words,
}

impl fmt::Debug for ProcessorCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessorCache").finish_non_exhaustive()
    }
}

impl Default for ProcessorCache {
    fn default() -> Self {
        Self::new()
    }
}

impl ProcessorCache {
    /// A place without a cache.
    pub const fn new() -> Self {
        ProcessorCache { words: Words::new() }
    }

    /// Puts a cache here; `false` if there is no memory for one.
    ///
    /// # Safety
    ///
    /// Called once; the place is not moved from now on until it is dropped.
    pub unsafe fn bind(&self) -> bool {
        // The caller may be a task: as in `emergency`.
        let _undisturbed = Undisturbed::new();
        // Nobody asks before the pool knows these words.
        self.words.slot.open();
        // In the child of a fork from now on the cache stays here.
        self.words.set_processor(true);
        let pooled = cache_pool::bind(&POOL, &self.words, make);
        match pooled {
            Some(pooled) => self.words.slot.exit(pooled),
            None => self.words.set_processor(false),
        }
        pooled.is_some()
    }

    /// Whether the cache is in use: for a handler of a signal on the thread that runs on the processor, which may have
    /// interrupted that. See [`Place::is_amid`](super::Place::is_amid).
    ///
    /// ```
    /// let processor = alloc_core::global::ProcessorCache::new();
    /// // SAFETY: it stays in place, and this thread alone uses it.
    /// let within = unsafe {
    ///     assert!(processor.bind());
    ///     processor.with(|_cache| processor.is_in_use())
    /// };
    /// assert_eq!((within, processor.is_in_use()), (Some(true), false));
    /// ```
    pub fn is_in_use(&self) -> bool {
        self.words.in_the_middle()
    }

    /// Runs `f` with the cache; `None`, without running it, if it is in use below the caller on the stack, lent at
    /// this moment, or was never bound. `f` does not unwind.
    ///
    /// # Safety
    ///
    /// One thread at a time uses the place, and one's last use happens before the next one's first.
    #[inline(always)]
    pub unsafe fn with<R>(&self, f: impl FnOnce(&mut GlobalCache) -> R) -> Option<R> {
        let pooled = self.words.slot.enter()?;
        self.words.count_turn();
        // SAFETY: the cache is that of these words and was in the slot; the caller is its only user.
        Some(unsafe { use_cache(&self.words, pooled, f) })
    }

    /// As [`with`](Self::with), for an `f` that makes no call: nor does this.
    ///
    /// # Safety
    ///
    /// As [`with`](Self::with).
    #[inline(always)]
    pub unsafe fn with_bound<R>(&self, f: impl FnOnce(&mut GlobalCache) -> R) -> Option<R> {
        let pooled = self.words.slot.enter()?;
        // SAFETY: as in `with`.
        Some(unsafe { use_cache(&self.words, pooled, f) })
    }
}

impl Drop for ProcessorCache {
    fn drop(&mut self) {
        // As in `bind`.
        let _undisturbed = Undisturbed::new();
        let Some(pooled) = NonNull::new(self.words.slot.leave()) else { return };
        // Whoever has the cache on loan holds the pool's lock meanwhile, and finds the slot empty later.
        drop(POOL.lock());
        // SAFETY: bound by `bind`, and nobody's any more.
        unsafe { give_to_pool(pooled) };
    }
}

// SAFETY: the words that change are atomic, belong to whoever uses the place (one at a time, promised in `with`),
// or to whoever holds the pool's lock.
unsafe impl Send for ProcessorCache {}

#[cfg(test)]
mod tests {
    use std::{boxed::Box, sync::mpsc, thread};

    use super::*;
    use crate::task;

    #[test]
    fn no_handler_interrupts_who_makes_a_processor() {
        let (to, from) = mpsc::channel();
        let pool = POOL.lock();
        let maker = thread::spawn(move || {
            let processor = Box::new(ProcessorCache::new());
            to.send(task::number()).unwrap();
            // SAFETY: once, and it stays in its box.
            assert!(unsafe { processor.bind() });
        });
        let number = from.recv().unwrap();
        // It waits for the pool, and for nothing else from now on.
        while !task::sleeps(number) {
            thread::yield_now();
        }
        let undisturbed = task::blocks(number, libc::SIGURG);
        drop(pool);
        maker.join().unwrap();
        assert!(undisturbed);
    }
}
