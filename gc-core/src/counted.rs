//! [`Counted`]: a shared value whose place may be refused: `Arc::try_new`, which is not stable.

use crate::{
    boxed::{try_box, try_place},
    space::Exhausted,
    sync::{AtomicUsize, Ordering},
};
use core::{fmt, mem::MaybeUninit, ops::Deref, ptr::NonNull};
use std::process::abort;

/// Something that heaps call, and an embedding may change at any time.
pub(crate) type Call = Counted<dyn Fn() + Send + Sync>;

/// More shares than a program can hold, unless it leaks them; far enough from an overflow.
const MOST: usize = isize::MAX as usize;

pub(crate) struct Inner<T: ?Sized> {
    shares: AtomicUsize,
    value: T,
}

/// A share of a value, which goes with the last one.
pub struct Counted<T: ?Sized>(NonNull<Inner<T>>);

// SAFETY: as for `Arc`: shares give the value to several threads, and the last one drops it.
unsafe impl<T: ?Sized + Send + Sync> Send for Counted<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send + Sync> Sync for Counted<T> {}

/// A place for a value that is not there yet.
pub(crate) struct Vacant<T>(Box<MaybeUninit<Inner<T>>>);

impl<T> Vacant<T> {
    /// A place, for whoever may not make the value before it has one.
    pub(crate) fn new() -> Result<Self, Exhausted> {
        try_place().map(Self)
    }

    /// The first share of the value.
    pub(crate) fn fill(self, value: T) -> Counted<T> {
        let inner = Box::write(self.0, Inner { shares: AtomicUsize::new(1), value });
        Counted(NonNull::from(Box::leak(inner)))
    }
}

impl<T> Counted<T> {
    /// The first share.
    ///
    /// # Errors
    ///
    /// The value, if the allocator has no memory.
    pub fn try_new(value: T) -> Result<Self, T> {
        let inner = try_box(Inner { shares: AtomicUsize::new(1), value });
        inner.map(|inner| Self(NonNull::from(Box::leak(inner)))).map_err(|inner| inner.value)
    }

    /// The share as an address, for those who keep it without its type.
    pub(crate) fn into_raw(self) -> NonNull<()> {
        let address = self.0.cast();
        core::mem::forget(self);
        address
    }

    /// The share again.
    ///
    /// # Safety
    ///
    /// The address came from [`into_raw`](Self::into_raw) of this type, and is used once.
    pub(crate) unsafe fn from_raw(address: NonNull<()>) -> Self {
        Self(address.cast())
    }
}

impl<T: ?Sized> Counted<T> {
    /// The same share, of a value that is known as something less: `CoerceUnsized`, which is not stable.
    ///
    /// # Safety
    ///
    /// `coerce` gives the address that it is given, with a type that the value can be coerced to.
    pub(crate) unsafe fn coerce<U: ?Sized>(
        self,
        coerce: impl FnOnce(NonNull<Inner<T>>) -> NonNull<Inner<U>>,
    ) -> Counted<U> {
        let inner = coerce(self.0);
        core::mem::forget(self);
        Counted(inner)
    }

    /// Whether no other share is left, and none can come.
    pub(crate) fn is_last(&self) -> bool {
        // SAFETY: there as long as a share is.
        let shares = unsafe { &self.0.as_ref().shares };
        // Relaxed: what others did with theirs is not looked at here; the end of this one orders that.
        shares.load(Ordering::Relaxed) == 1
    }
}

impl Call {
    /// The first share of what is called.
    ///
    /// # Errors
    ///
    /// The same, if the allocator has no memory.
    pub(crate) fn try_call<F: Fn() + Send + Sync + 'static>(call: F) -> Result<Self, F> {
        let unsize = |call: NonNull<Inner<F>>| -> NonNull<Inner<dyn Fn() + Send + Sync>> { call };
        // SAFETY: a coercion, and nothing else.
        Counted::try_new(call).map(|call| unsafe { call.coerce(unsize) })
    }
}

impl<T: ?Sized> Deref for Counted<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: there as long as a share is.
        &unsafe { self.0.as_ref() }.value
    }
}

impl<T: ?Sized> Clone for Counted<T> {
    fn clone(&self) -> Self {
        // SAFETY: there as long as a share is.
        let shares = unsafe { &self.0.as_ref().shares };
        // Relaxed: the caller has a share, so the last one is not given up meanwhile.
        if shares.fetch_add(1, Ordering::Relaxed) > MOST {
            abort();
        }
        Self(self.0)
    }
}

impl<T: ?Sized> Drop for Counted<T> {
    fn drop(&mut self) {
        // SAFETY: there as long as a share is.
        let shares = unsafe { &self.0.as_ref().shares };
        // AcqRel: what each did with its share is before the last one ends the value. Release publishes ours,
        // Acquire brings that of the others; pairs with itself.
        if shares.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: the last share; the place came from a box.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Counted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
