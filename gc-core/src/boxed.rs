//! A box for a value, or the value back: `Box::try_new`, which is not stable.

use core::{alloc::Layout, ptr::NonNull};
use std::alloc::alloc;

/// Puts a value into a box.
///
/// # Errors
///
/// The value, if the allocator has no memory.
pub(crate) fn try_box<T>(value: T) -> Result<Box<T>, T> {
    if size_of::<T>() == 0 {
        // No memory is asked for.
        return Ok(Box::new(value));
    }
    // SAFETY: the layout is not empty.
    let place = NonNull::new(unsafe { alloc(Layout::new::<T>()) });
    let Some(place) = place.map(NonNull::cast::<T>) else { return Err(value) };
    // SAFETY: there is room for a value, which is ours.
    unsafe { place.write(value) };
    // SAFETY: the place is the global allocator's, of the value's layout, and holds it.
    Ok(unsafe { Box::from_raw(place.as_ptr()) })
}
