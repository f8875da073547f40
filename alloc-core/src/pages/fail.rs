//! A source that refuses on purpose: fault injection for tests.

use core::{ops::Range, ptr::NonNull};

use super::{Guard, PageSource};
use crate::sync::{AtomicUsize, Ordering};

/// Passes calls on to another source until the n-th, which fails, as do all after it.
///
/// Calls of [`reserve`](PageSource::reserve), [`commit`](PageSource::commit) and
/// [`guard`](PageSource::guard) count; giving memory back never fails.
///
/// ```
/// use std::alloc::Layout;
/// use alloc_core::{Error, Heap, pages::{fail::Fail, os::Os}};
/// let heap = Heap::new(Fail::after(Os::new(), 0));
/// assert_eq!(heap.cache().alloc(Layout::new::<[u8; 8]>()), Err(Error::OutOfMemory));
/// heap.source().allow(100);
/// assert!(heap.cache().alloc(Layout::new::<[u8; 8]>()).is_ok());
/// ```
#[derive(Debug)]
pub struct Fail<S> {
    inner: S,
    /// Calls that still succeed.
    left: AtomicUsize,
}

impl<S> Fail<S> {
    /// Lets `calls` calls succeed.
    pub fn after(inner: S, calls: usize) -> Self {
        Fail { inner, left: AtomicUsize::new(calls) }
    }

    /// Lets `calls` more calls succeed from now on.
    pub fn allow(&self, calls: usize) {
        // Relaxed: a counter of its own.
        self.left.store(calls, Ordering::Relaxed);
    }

    fn permit(&self) -> bool {
        // Relaxed: a counter of its own.
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }
}

// SAFETY: a call either is the inner source's, which keeps the rules, or fails without effect.
unsafe impl<S: PageSource> PageSource for Fail<S> {
    type Index = S::Index;

    fn addresses(&self) -> Range<usize> {
        self.inner.addresses()
    }
    fn arena_bytes(&self) -> usize {
        self.inner.arena_bytes()
    }
    fn machine_page(&self) -> usize {
        self.inner.machine_page()
    }
    fn reserve(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        if self.permit() { self.inner.reserve(bytes, align) } else { None }
    }
    unsafe fn commit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        self.permit() && unsafe { self.inner.commit(at, bytes) }
    }
    unsafe fn decommit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.inner.decommit(at, bytes) }
    }
    unsafe fn close(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        self.permit() && unsafe { self.inner.close(at, bytes) }
    }
    unsafe fn open(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.inner.open(at, bytes) }
    }
    unsafe fn relocate(&self, from: NonNull<u8>, to: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        self.permit() && unsafe { self.inner.relocate(from, to, bytes) }
    }
    unsafe fn release(&self, at: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.inner.release(at, bytes) }
    }
    unsafe fn touch_singly(&self, at: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.inner.touch_singly(at, bytes) }
    }
    unsafe fn guard(&self, at: NonNull<u8>, bytes: usize, how: Guard) -> bool {
        // SAFETY: the caller's promise is passed on.
        self.permit() && unsafe { self.inner.guard(at, bytes, how) }
    }
}
