//! Room for a box, or the news that there is none: `Box::try_new_uninit`, which is not stable.

use core::{alloc::Layout, mem::MaybeUninit};
use std::alloc::alloc;

/// Room for a `T`, to be filled by [`Box::write`]. `None`: the global allocator refused.
///
/// Room first, value afterwards: a caller without room still has the value, and may say so before anything else
/// has happened.
pub(crate) fn try_room<T>() -> Option<Box<MaybeUninit<T>>> {
    const { assert!(size_of::<T>() != 0, "room for nothing is no memory") };
    // SAFETY: the layout is not empty.
    let place = unsafe { alloc(Layout::new::<T>()) }.cast::<MaybeUninit<T>>();
    // SAFETY: the place is the global allocator's, of the layout of a `T`, ours, and need not hold one.
    (!place.is_null()).then(|| unsafe { Box::from_raw(place) })
}
