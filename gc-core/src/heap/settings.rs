//! What can be changed while a heap lives; the rest is chosen by its [builder](super::HeapBuilder).

#[cfg(doc)]
use super::HeapBuilder;
use super::{Heap, Tag};
use crate::{
    boxed::try_box,
    error::AllocError,
    pacer::Pacer,
    policy::{Collection, WriteBarrier},
};

impl<H: Tag> Heap<H> {
    /// Changes when cycles begin, from now on.
    ///
    /// # Panics
    ///
    /// If there is no memory for the pacer; [`try_set_pacer`](Self::try_set_pacer) returns that as a value.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, pacer::Every};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.set_pacer(Every(1 << 20));
    /// assert_eq!(heap.collect().unwrap().trigger, 1 << 20);
    /// ```
    pub fn set_pacer(&self, pacer: impl Pacer + 'static) {
        self.try_set_pacer(pacer).unwrap_or_else(|refused| refused.panic());
    }

    /// Changes when cycles begin, from now on.
    ///
    /// # Errors
    ///
    /// [`AllocError`] with the pacer, if there is no memory for it. The former one stays.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, pacer::Every};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// assert!(heap.try_set_pacer(Every(1 << 20)).is_ok());
    /// assert_eq!(heap.collect().unwrap().trigger, 1 << 20);
    /// ```
    pub fn try_set_pacer<P: Pacer + 'static>(&self, pacer: P) -> Result<(), AllocError<P>> {
        self.0.set_pacer(try_box(pacer).map_err(AllocError::new)?);
        Ok(())
    }

    /// Changes who runs while the collector marks, from the next cycle on.
    ///
    /// ```
    /// use gc_core::{Heap, HeapError, Plain, policy::Collection};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.set_collection(Collection::Never);
    /// heap.request();
    /// assert!(!heap.is_requested());
    /// assert_eq!(heap.collect().unwrap_err(), HeapError::Disabled);
    /// heap.set_collection(Collection::Concurrent);
    /// assert!(heap.collect().is_ok());
    /// ```
    pub fn set_collection(&self, collection: Collection) {
        self.0.set_collection(collection);
    }

    /// Changes what stores log, from the next cycle on.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, policy::WriteBarrier};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.set_write_barrier(WriteBarrier::Hybrid);
    /// assert_eq!(heap.collect().unwrap().cycle, 1);
    /// heap.set_write_barrier(WriteBarrier::Deletion);
    /// assert_eq!(heap.collect().unwrap().cycle, 2);
    /// ```
    pub fn set_write_barrier(&self, barrier: WriteBarrier) {
        self.0.set_write_barrier(barrier);
    }

    /// Turns checkmark on or off, from the next cycle on. See [`HeapBuilder::checkmark`].
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let kept = heap.enter().root(heap.enter().alloc(7u64));
    /// heap.set_checkmark(true); // a suspicion
    /// assert_eq!(heap.collect().unwrap().marked_objects, 1, "and it was unfounded");
    /// heap.set_checkmark(false);
    /// # drop(kept);
    /// ```
    pub fn set_checkmark(&self, on: bool) {
        self.0.set_checkmark(on);
    }
}
