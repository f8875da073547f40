//! [`HeapBuilder`]: what is chosen before a heap begins.

use super::{Heap, Tag};
use crate::{
    boxed::try_box,
    error::HeapError,
    inner::{Core, Options},
    pacer::{Gogc, Pacer},
    policy::{Collection, WriteBarrier},
    space::Exhausted,
    stats::Record,
};
use std::fmt;

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
    ///
    /// ```
    /// use gc_core::{Heap, Plain, pacer::Gogc};
    ///
    /// let builder = Heap::<Plain>::builder().pacer(Gogc::off().limit(64 << 20));
    /// let heap = builder.build(Default::default(), Default::default()).unwrap();
    /// let goal = heap.collect().unwrap().goal;
    /// assert!((32 << 20..64 << 20).contains(&goal), "the limit alone");
    /// ```
    pub fn pacer(mut self, pacer: impl Pacer + 'static) -> Self {
        self.options.pacer = try_box(pacer).map(|pacer| Some(pacer as _)).map_err(|_| Exhausted);
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
    ///
    /// ```
    /// use gc_core::{Heap, HeapError, Plain, policy::Collection};
    ///
    /// let builder = Heap::<Plain>::builder().collection(Collection::Never);
    /// let heap = builder.build(Default::default(), Default::default()).unwrap();
    /// assert_eq!(heap.collect().unwrap_err(), HeapError::Disabled);
    /// ```
    pub fn collection(mut self, collection: Collection) -> Self {
        self.options.collection = collection;
        self
    }

    /// What stores log while it marks. Default: [`WriteBarrier::Deletion`].
    ///
    /// ```
    /// use gc_core::{Heap, Plain, policy::WriteBarrier};
    ///
    /// let builder = Heap::<Plain>::builder().write_barrier(WriteBarrier::Hybrid);
    /// let heap = builder.build(Default::default(), Default::default()).unwrap();
    /// let kept = heap.enter().root(heap.enter().alloc(7u64));
    /// assert_eq!(heap.collect().unwrap().marked_objects, 1, "what lives is the same");
    /// # drop(kept);
    /// ```
    pub fn write_barrier(mut self, barrier: WriteBarrier) -> Self {
        self.options.write_barrier = barrier;
        self
    }

    /// How many objects are marked between two pauses of the driver. Default: 1024.
    ///
    /// ```
    /// use gc_core::{Gc, Heap, Plain, cycle::Pause};
    ///
    /// let builder = Heap::<Plain>::builder().slice(100);
    /// let heap = builder.build(Default::default(), Default::default()).unwrap();
    /// let kept = {
    ///     let guard = heap.enter();
    ///     let numbers: Vec<Gc<'_, u64>> = (0..1000).map(|n| guard.alloc(n)).collect();
    ///     guard.root(guard.alloc_slice(numbers))
    /// };
    /// let mut slices = 0;
    /// heap.collect_with(|pause| slices += u32::from(pause == Pause::Slice)).unwrap();
    /// assert!(slices >= 10);
    /// # drop(kept);
    /// ```
    pub fn slice(mut self, objects: usize) -> Self {
        self.options.slice = objects.max(1);
        self
    }

    /// Marks everything a second time at the end of each cycle, with a simpler algorithm, and
    /// panics in the driver if an object was overlooked. Default: off. Takes memory by what is alive; a cycle
    /// that finds none goes on unchecked, as [`Record::checked`] says.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let builder = Heap::<Plain>::builder().checkmark(true);
    /// let heap = builder.build(Default::default(), Default::default()).unwrap();
    /// let kept = heap.enter().root(heap.enter().alloc(7u64));
    /// assert!(heap.collect().unwrap().checked, "and nothing was overlooked");
    /// # drop(kept);
    /// ```
    pub fn checkmark(mut self, on: bool) -> Self {
        self.options.checkmark = on;
        self
    }

    /// Calls `report` at the end of each cycle, on the driver.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    /// use std::sync::{Arc, Mutex};
    ///
    /// let lines = Arc::new(Mutex::new(Vec::new()));
    /// let log = lines.clone();
    /// let heap = Heap::<Plain>::builder()
    ///     .on_cycle(move |record| log.lock().unwrap().push(record.to_string()))
    ///     .build(Default::default(), Default::default())
    ///     .unwrap();
    /// heap.collect().unwrap();
    /// heap.collect().unwrap();
    /// let lines = lines.lock().unwrap();
    /// assert!(lines[0].starts_with("gc 1: ") && lines[1].starts_with("gc 2: "));
    /// ```
    pub fn on_cycle(mut self, report: impl Fn(&Record) + Send + Sync + 'static) -> Self {
        self.options.report =
            try_box(report).map(|report| Some(report as _)).map_err(|_| Exhausted);
        self
    }

    /// Begins the heap.
    ///
    /// # Errors
    ///
    /// [`HeapError::TagInUse`]; [`HeapError::Memory`] if there is none for the heap, or was none for what the
    /// builder was given.
    ///
    /// ```
    /// use gc_core::{Heap, HeapError, Plain, space::blocks::Blocks, world::threads::Threads};
    ///
    /// let build = || Heap::<Plain>::builder().build(Blocks::with_limit(1 << 20), Threads::new());
    /// let heap = build().unwrap();
    /// assert_eq!(build().unwrap_err(), HeapError::TagInUse);
    /// assert!(heap.enter().try_alloc_slice(vec![0u8; 2 << 20]).is_err());
    /// ```
    pub fn build(self, space: H::Space, world: H::World) -> Result<Heap<H>, HeapError> {
        Core::new(space, world, self.options).map(Heap)
    }
}

impl<H: Tag> fmt::Debug for HeapBuilder<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapBuilder").field("options", &self.options).finish()
    }
}
