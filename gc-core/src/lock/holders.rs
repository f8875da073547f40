//! Who holds a lock: the right to use its value, until it is dropped.
//!
//! Three types of one shape: the names tell which lock, and the last word of each line below how it is
//! held. `DerefMut` is for those who are alone.

use super::{interior::Interior, raw::Want};
use crate::{Plain, guard::Guard, heap::Tag};
use core::{
    fmt,
    ops::{Deref, DerefMut},
};

macro_rules! holder {
    ($(#[$doc:meta])* $holder:ident, Exclusive) => {
        holder! { @ $(#[$doc])* $holder, Exclusive }

        impl<T, H: Tag> DerefMut for $holder<'_, T, H> {
            #[inline(always)]
            fn deref_mut(&mut self) -> &mut T {
                // SAFETY: the lock is held exclusively, and this borrow is the only one.
                unsafe { self.interior.get_mut() }
            }
        }
    };
    ($(#[$doc:meta])* $holder:ident, Shared) => {
        holder! { @ $(#[$doc])* $holder, Shared }
    };
    (@ $(#[$doc:meta])* $holder:ident, $want:ident) => {
        $(#[$doc])*
        #[must_use = "the lock is given back at once"]
        pub struct $holder<'a, T, H: Tag = Plain> {
            interior: &'a Interior<T>,
            guard: &'a Guard<'a, H>,
        }

        impl<'a, T, H: Tag> $holder<'a, T, H> {
            /// The lock has just been taken.
            #[inline(always)]
            pub(super) fn of(interior: &'a Interior<T>, guard: &'a Guard<'_, H>) -> Self {
                Self { interior, guard }
            }
        }

        impl<T, H: Tag> Deref for $holder<'_, T, H> {
            type Target = T;

            #[inline(always)]
            fn deref(&self) -> &T {
                // SAFETY: the lock is held.
                unsafe { self.interior.get() }
            }
        }

        impl<T, H: Tag> Drop for $holder<'_, T, H> {
            #[inline]
            fn drop(&mut self) {
                self.interior.leave(self.guard, Want::$want);
            }
        }

        impl<T: fmt::Debug, H: Tag> fmt::Debug for $holder<'_, T, H> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    };
}

holder! {
    /// The right to use the value of a [`GcMutex`](super::GcMutex); gives the lock back when it is
    /// dropped.
    MutexGuard, Exclusive
}
holder! {
    /// The right to read the value of a [`GcRwLock`](super::GcRwLock).
    ReadGuard, Shared
}
holder! {
    /// The right to change the value of a [`GcRwLock`](super::GcRwLock).
    WriteGuard, Exclusive
}
