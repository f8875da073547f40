//! A value that loom watches on its way through a channel.

use loom::alloc::Track;
use loom::cell::UnsafeCell;

/// A number in a box. Loom reports a box that is opened before its writer's store is seen, and one that
/// is neither opened nor dropped at a model's end; one that is dropped twice is freed twice.
pub struct Parcel(Track<Box<UnsafeCell<usize>>>);

impl Parcel {
    /// Writes `number` into a box of its own.
    pub fn new(number: usize) -> Self {
        let content = UnsafeCell::new(0);
        // SAFETY: nobody else knows the cell.
        content.with_mut(|place| unsafe { *place = number });
        Parcel(Track::new(Box::new(content)))
    }

    /// The number.
    pub fn open(self) -> usize {
        // SAFETY: whoever has the box has its content; loom says if that is not so.
        self.0.get_ref().with_mut(|place| unsafe { *place })
    }
}

// SAFETY: the box is its holder's alone.
unsafe impl Send for Parcel {}

impl core::fmt::Debug for Parcel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Parcel").finish_non_exhaustive()
    }
}
