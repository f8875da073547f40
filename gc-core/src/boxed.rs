//! A box for a value, or the value back: `Box::try_new`, which is not stable.

use crate::space::Exhausted;
use core::{alloc::Layout, mem::MaybeUninit, ptr::NonNull};
use std::alloc::alloc;

/// Puts a value into a box.
///
/// # Errors
///
/// The value, if the allocator has no memory.
pub(crate) fn try_box<T>(value: T) -> Result<Box<T>, T> {
    match try_place() {
        Ok(place) => Ok(Box::write(place, value)),
        Err(Exhausted) => Err(value),
    }
}

/// A box without a value.
///
/// # Errors
///
/// [`Exhausted`] if the allocator has no memory.
pub(crate) fn try_place<T>() -> Result<Box<MaybeUninit<T>>, Exhausted> {
    if size_of::<T>() == 0 {
        // No memory is asked for.
        return Ok(Box::new_uninit());
    }
    // SAFETY: the layout is not empty.
    let place = NonNull::new(unsafe { alloc(Layout::new::<T>()) }).ok_or(Exhausted)?;
    // SAFETY: the place is the global allocator's, of the layout, and there need be nothing in it.
    Ok(unsafe { Box::from_raw(place.cast().as_ptr()) })
}
