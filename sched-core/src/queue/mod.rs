//! Queues: what [policies](crate::policy) are made of.
//!
//! * [`local`]: one per P, a ring that its owner uses without a lock and from which others steal; first
//!   in, first out, with one place in front.
//! * [`deque`]: the same, last in, first out for its owner.
//! * [`inject`]: unbounded, for what has no P or does not fit into a ring; [`lanes`] says whose turn it
//!   is there, and [`list`] is what it is made of. [`shards`]: the same for many Ps.
//!
//! Both carry [`Handle`]s: owned pointers, so that whatever is put in comes out exactly once or is
//! dropped with its queue.

use core::ptr::NonNull;

pub mod deque;
pub mod inject;
pub mod lanes;
pub mod list;
pub mod local;
pub mod shards;

/// An owned pointer that a queue can keep in one word.
///
/// ```
/// use sched_core::queue::Handle;
///
/// let raw = Box::new(7).into_raw();
/// // SAFETY: `raw` comes from `into_raw` and is used once.
/// assert_eq!(unsafe { <Box<i32> as Handle>::from_raw(raw) }, Box::new(7));
/// ```
///
/// # Safety
///
/// 1. `from_raw(h.into_raw())` gives `h` back, on any thread.
/// 2. Between the two calls the target stays where it is, and shared references to it are allowed.
pub unsafe trait Handle: Sized + Send {
    /// What the pointer points to.
    type Target;

    /// Gives up the handle for the pointer.
    fn into_raw(self) -> NonNull<Self::Target>;

    /// Takes the handle back.
    ///
    /// # Safety
    ///
    /// `raw` comes from [`into_raw`](Self::into_raw), and from no call is it used twice.
    unsafe fn from_raw(raw: NonNull<Self::Target>) -> Self;
}

// SAFETY: Box's own round trip; a box does not move its content, and nobody has `&mut` to it while
// it is a raw pointer.
unsafe impl<T: Send> Handle for Box<T> {
    type Target = T;

    fn into_raw(self) -> NonNull<T> {
        NonNull::from(Box::leak(self))
    }

    unsafe fn from_raw(raw: NonNull<T>) -> Self {
        // SAFETY: the caller vouches that `raw` comes from `into_raw` and is used once.
        unsafe { Box::from_raw(raw.as_ptr()) }
    }
}

// SAFETY: Arc's own round trip; an Arc never gives `&mut` while it is shared.
unsafe impl<T: Send + Sync> Handle for std::sync::Arc<T> {
    type Target = T;

    fn into_raw(self) -> NonNull<T> {
        let raw = std::sync::Arc::into_raw(self).cast_mut();
        // SAFETY: an Arc's pointer is never null.
        unsafe { NonNull::new_unchecked(raw) }
    }

    unsafe fn from_raw(raw: NonNull<T>) -> Self {
        // SAFETY: the caller vouches that `raw` comes from `into_raw` and is used once.
        unsafe { std::sync::Arc::from_raw(raw.as_ptr()) }
    }
}

/// Where a full ring puts what it cannot keep.
pub trait Overflow<H: Handle> {
    /// Takes all of `batch`, oldest first.
    fn take_batch(&self, batch: impl Iterator<Item = H>);
}

impl<H: Handle, T: Overflow<H> + ?Sized> Overflow<H> for &T {
    fn take_batch(&self, batch: impl Iterator<Item = H>) {
        (**self).take_batch(batch);
    }
}

impl<H: Handle> Overflow<H> for core::cell::RefCell<Vec<H>> {
    fn take_batch(&self, batch: impl Iterator<Item = H>) {
        self.borrow_mut().extend(batch);
    }
}
