//! [`HeapBuilder`]: what is chosen before a heap begins.

use super::{Heap, Tag};
use crate::{
    error::HeapError,
    inner::{Core, Options},
    pacer::{Gogc, Pacer},
    policy::{Collection, WriteBarrier},
    stats::Record,
};
use std::{fmt, sync::Arc};

/// Choices to make before a heap begins. Comes from [`Heap::builder`].
///
/// ```
/// use gc_core::{Heap, Plain, pacer::Gogc, space::blocks::Blocks, world::threads::Threads};
/// use std::sync::mpsc;
///
/// let (sender, records) = mpsc::channel();
/// let heap = Heap::<Plain>::builder()
///     .pacer(Gogc::new(50).limit(64 << 20))
///     .checkmark(cfg!(debug_assertions))
///     .on_cycle(move |record| sender.send(*record).unwrap())
///     .build(Blocks::new(), Threads::new())
///     .unwrap();
/// let record = heap.collect().unwrap();
/// assert_eq!(records.recv(), Ok(record));
/// ```
pub struct HeapBuilder<H: Tag> {
    options: Options,
    tag: std::marker::PhantomData<fn() -> H>,
}

impl<H: Tag> HeapBuilder<H> {
    pub(super) fn new() -> Self {
        Self { options: Options::default(), tag: std::marker::PhantomData }
    }

    /// When cycles begin. Default: [`Gogc`] with 100 percent.
    pub fn pacer(mut self, pacer: impl Pacer + 'static) -> Self {
        self.options.pacer = Box::new(pacer);
        self
    }

    /// [`Gogc`] with this percentage.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, pacer::Gogc};
    ///
    /// let heap =
    ///     Heap::<Plain>::builder().gogc(50).build(Default::default(), Default::default()).unwrap();
    /// assert_eq!(heap.collect().unwrap().goal, Gogc::MINIMUM / 2);
    /// ```
    pub fn gogc(self, percent: u32) -> Self {
        self.pacer(Gogc::new(percent))
    }

    /// Who runs while the collector marks. Default: [`Collection::Concurrent`].
    pub fn collection(mut self, collection: Collection) -> Self {
        self.options.collection = collection;
        self
    }

    /// What stores log while it marks. Default: [`WriteBarrier::Deletion`].
    pub fn write_barrier(mut self, barrier: WriteBarrier) -> Self {
        self.options.write_barrier = barrier;
        self
    }

    /// How many objects are marked between two pauses of the driver. Default: 1024.
    pub fn slice(mut self, objects: usize) -> Self {
        self.options.slice = objects.max(1);
        self
    }

    /// Marks everything a second time at the end of each cycle, with a simpler algorithm, and
    /// panics in the driver if an object was overlooked. Default: off.
    pub fn checkmark(mut self, on: bool) -> Self {
        self.options.checkmark = on;
        self
    }

    /// Calls `report` at the end of each cycle, on the driver.
    pub fn on_cycle(mut self, report: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        self.options.report = Some(Box::new(report));
        self
    }

    /// Begins the heap.
    ///
    /// # Errors
    ///
    /// [`HeapError::TagInUse`]
    pub fn build(self, space: H::Space, world: H::World) -> Result<Heap<H>, HeapError> {
        Core::new(space, world, self.options).map(|core| Heap(Arc::new(core)))
    }
}

impl<H: Tag> fmt::Debug for HeapBuilder<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapBuilder").field("options", &self.options).finish()
    }
}
