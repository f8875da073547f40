//! A set that anyone may add to without a lock: a stack that is emptied as a whole.
//!
//! Whoever frees the first cell of a full span that nobody owns must put the span back where
//! allocators look, possibly from a signal handler, so it can neither wait for a lock nor fail.
//! Pushing is one compare-exchange; taking is one swap to null and gives the whole chain to the
//! taker. Nobody ever pops a single element, so the ABA problem of Treiber's stack cannot arise: a
//! pusher that finds the same head again finds it on the stack again, and links to it rightly.
//!
//! Model: `loom-tests/tests/alloc_set.rs`. Source: R. K. Treiber, "Systems Programming: Coping with
//! Parallelism" (1986). Go's `spanSet` (blocks of 512 slots, head and tail in one word) also pops
//! singly; here a list behind the central's lock does that.

use core::{fmt, marker::PhantomData, ptr, ptr::NonNull};

use crate::sync::{AtomicPtr, Ordering, const_fn};

/// Something with a link for one stack at a time.
pub trait Linked: Sized {
    /// The link. Only the stack that holds the element touches it.
    fn link(&self) -> &AtomicPtr<Self>;
}

/// The stack. It borrows its elements: they must stay in place until they are taken.
pub struct SpanSet<T> {
    head: AtomicPtr<T>,
}

impl<T: Linked> SpanSet<T> {
    const_fn! {
        /// An empty set.
        pub fn new() -> Self {
            SpanSet { head: AtomicPtr::new(ptr::null_mut()) }
        }
    }

    /// Adds an element; never waits.
    ///
    /// # Safety
    ///
    /// The caller has the sole right to put `element` on a stack, and it stays in place until
    /// it is taken and the chain it comes in is gone.
    pub unsafe fn push(&self, element: NonNull<T>) {
        // Relaxed: only compared; what it points to is not read.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: the element is in place, says the caller.
            // Relaxed: published by the exchange below.
            unsafe { element.as_ref() }.link().store(head, Ordering::Relaxed);
            // Release: publishes the link and what the pusher did to the element before; pairs
            // with the Acquire in `take_all`. Relaxed on failure: as the load above.
            match self.head.compare_exchange_weak(
                head,
                element.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes all elements, the last pushed first.
    pub fn take_all(&self) -> Chain<T> {
        // Relaxed: a look that spares the swap of an empty set; who misses a push in flight, finds
        // it next time.
        if self.head.load(Ordering::Relaxed).is_null() {
            return Chain { next: ptr::null_mut(), elements: PhantomData };
        }
        // Acquire: pairs with the Release in `push`, of the head and, through the release
        // sequence of later pushes, of all below it.
        let next = self.head.swap(ptr::null_mut(), Ordering::Acquire);
        Chain { next, elements: PhantomData }
    }
}

impl<T> fmt::Debug for SpanSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanSet").finish_non_exhaustive()
    }
}

impl<T: Linked> Default for SpanSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Elements that were taken; dropping it forgets those that were not asked for.
#[must_use = "the elements are on no stack any more"]
pub struct Chain<T> {
    next: *mut T,
    elements: PhantomData<NonNull<T>>,
}

impl<T> fmt::Debug for Chain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").finish_non_exhaustive()
    }
}

impl<T: Linked> Iterator for Chain<T> {
    type Item = NonNull<T>;

    fn next(&mut self) -> Option<NonNull<T>> {
        let element = NonNull::new(self.next)?;
        // SAFETY: elements stay in place until they were taken out of the chain: promise of `push`.
        // Relaxed: the swap in `take_all` acquired it.
        self.next = unsafe { element.as_ref() }.link().load(Ordering::Relaxed);
        Some(element)
    }
}
