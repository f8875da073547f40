//! A source whose heap finds free pages in another way.

use core::{marker::PhantomData, ops::Range, ptr::NonNull};

use super::{Guard, PageSource};
use crate::page_heap::PageHeap;

/// Passes all calls on to the source `S`; the heap above uses the index `P`.
///
/// ```
/// use std::alloc::Layout;
/// use alloc_core::{Heap, page_heap::Treap, pages::{os::Os, with::With}};
/// let heap = Heap::new(With::<Treap, Os>::new(Os::new()));
/// let mut cache = heap.cache();
/// assert!(cache.alloc(Layout::new::<[u8; 100_000]>()).is_ok());
/// ```
#[derive(Debug)]
pub struct With<P, S> {
    inner: S,
    index: PhantomData<fn() -> P>,
}

impl<P, S> With<P, S> {
    /// The source `inner`, under a page heap of the type `P`.
    pub const fn new(inner: S) -> Self {
        With { inner, index: PhantomData }
    }
}

// SAFETY: every call is the inner source's, which keeps the rules.
unsafe impl<P: PageHeap, S: PageSource> PageSource for With<P, S> {
    type Index = P;

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
        self.inner.reserve(bytes, align)
    }
    unsafe fn commit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.inner.commit(at, bytes) }
    }
    unsafe fn decommit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.inner.decommit(at, bytes) }
    }
    unsafe fn close(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.inner.close(at, bytes) }
    }
    unsafe fn open(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.inner.open(at, bytes) }
    }
    unsafe fn relocate(&self, from: NonNull<u8>, to: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise is passed on.
        unsafe { self.inner.relocate(from, to, bytes) }
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
        unsafe { self.inner.guard(at, bytes, how) }
    }
}
