//! [`Heap`]: the handle that users hold; [`Tag`]: which heap a pointer belongs to.
//!
//! Pointers carry a tag type instead of the heap's address. At most one heap per tag is alive at a
//! time ([`Claim`]), so a type that says "tag `H`" says which heap. Heap handles and roots share
//! the core behind the heap; the tag is free again when the last of them is gone.
//!
//! A tag also bundles the parts that are chosen together: where objects lie ([`Space`]) and who
//! mutates ([`World`]).
//!
//! What a handle does for those who use the heap is here; what it does for those who collect it is in
//! `service`, and what can be changed while it lives in `settings`.

mod builder;
mod service;
mod settings;
mod tag;

pub use self::{
    builder::HeapBuilder,
    tag::{Claim, Plain, Tag},
};

use crate::{
    counted::Counted,
    cycle::Pause,
    error::HeapError,
    guard::Guard,
    inner::Core,
    space::{Space, Usage, blocks::Blocks},
    stats::{Record, Stats},
    world::threads::Threads,
};
#[cfg(doc)]
use crate::{policy::Collection, world::World};
use std::fmt;

/// A handle to a collected heap. Clones share it.
///
/// ```
/// use gc_core::{Heap, Plain};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let same = heap.clone();
/// let root = same.enter().root(same.enter().alloc(7u64));
/// assert_eq!((heap.roots(), *root.get(&heap.enter())), (1, 7));
/// ```
pub struct Heap<H: Tag = Plain>(Counted<Core<H>>);

impl<H: Tag<Space = Blocks, World = Threads>> Heap<H> {
    /// A heap with memory from `malloc`, plain threads, and Go's default growth of 100 percent.
    ///
    /// # Errors
    ///
    /// [`HeapError::TagInUse`], [`HeapError::Memory`]
    ///
    /// ```
    /// use gc_core::{Heap, HeapError, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// assert_eq!(Heap::<Plain>::new().unwrap_err(), HeapError::TagInUse);
    /// assert_eq!((heap.roots(), heap.live_bytes()), (0, 0));
    /// ```
    pub fn new() -> Result<Self, HeapError> {
        Self::builder().build(Blocks::new(), Threads::new())
    }
}

impl<H: Tag> Heap<H> {
    pub(crate) fn core(&self) -> &Counted<Core<H>> {
        &self.0
    }

    /// Choices to make before the heap begins.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, pacer::Every};
    ///
    /// let builder = Heap::<Plain>::builder().pacer(Every(1 << 20)).checkmark(true);
    /// let heap = builder.build(Default::default(), Default::default()).unwrap();
    /// assert_eq!(heap.collect().unwrap().trigger, 1 << 20);
    /// ```
    pub fn builder() -> HeapBuilder<H> {
        HeapBuilder::new()
    }

    /// Enters a guard. Guards nest.
    ///
    /// Waits for nothing. When the heap has outrun a collector that is at work (by a tenth of its
    /// goal, or to a memory limit: see [`pacer`](crate::pacer)), the outermost guard of a task marks some
    /// hundred objects first; if there is nothing to mark just then, it may wait for up to 10 ms, if
    /// nobody else is ready. With [`Collection::StopTheWorld`] the outermost guard waits for the end of a
    /// collection that has begun.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let outer = heap.enter();
    /// let seven = outer.alloc(7u64);
    /// drop(heap.enter()); // guards nest
    /// assert_eq!(*seven, 7);
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no memory for the calling thread's part in the heap, which its first guard makes; if the task
    /// holds 65,535 guards. [`try_enter`](Self::try_enter) returns both as a value.
    #[inline]
    pub fn enter(&self) -> Guard<'_, H> {
        self.0.relieve();
        Guard::enter(&self.0)
    }

    /// Enters a guard, as [`enter`](Self::enter) does.
    ///
    /// # Errors
    ///
    /// [`HeapError::Memory`] if there is no memory for the calling thread's part in the heap. A thread that has
    /// had a guard has its part. [`HeapError::TooManyGuards`] if the task holds 65,535 guards.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.try_enter().unwrap();
    /// assert_eq!(*guard.alloc(7u64), 7);
    /// ```
    pub fn try_enter(&self) -> Result<Guard<'_, H>, HeapError> {
        // May set the task aside, which may come back where it has no part in the heap: so first.
        self.0.relieve();
        Guard::try_enter(&self.0)
    }

    /// Runs a whole cycle and sweeps: every object that was unreachable before the call is gone,
    /// or waits for its destructor ([`run_destructors`](Self::run_destructors)).
    ///
    /// Waits for all guards that are held now, by letting others run.
    ///
    /// # Errors
    ///
    /// [`HeapError::InsideGuard`], [`HeapError::Disabled`], [`HeapError::Broken`], [`HeapError::Memory`]
    ///
    /// ```
    /// use gc_core::{Heap, HeapError, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let kept = guard.root(guard.alloc([1u64; 8]));
    /// guard.alloc([2u64; 8]);
    /// assert_eq!(heap.collect().unwrap_err(), HeapError::InsideGuard);
    /// drop(guard);
    /// assert_eq!(heap.collect().unwrap().marked_objects, 1);
    /// assert_eq!(kept.get(&heap.enter())[7], 1);
    /// ```
    pub fn collect(&self) -> Result<Record, HeapError> {
        self.collect_with(|pause| self.0.pause(pause))
    }

    /// As [`collect`](Self::collect), with the caller's way to let others run.
    ///
    /// # Errors
    ///
    /// [`HeapError::InsideGuard`], [`HeapError::Disabled`], [`HeapError::Broken`], [`HeapError::Memory`]
    ///
    /// ```
    /// use gc_core::{Heap, Plain, cycle::Pause};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let leaves = heap.enter().root(heap.enter().alloc_slice(0..9u64));
    /// let mut slices = 0;
    /// let record = heap
    ///     .collect_with(|pause| match pause {
    ///         Pause::Slice => slices += 1, // a good moment to do something else
    ///         _ => std::thread::yield_now(),
    ///     })
    ///     .unwrap();
    /// assert_eq!((record.marked_objects, leaves.get(&heap.enter()).len()), (1, 9));
    /// assert!(slices > 0);
    /// ```
    pub fn collect_with(&self, mut pause: impl FnMut(Pause)) -> Result<Record, HeapError> {
        let record = self.0.cycle(&mut pause)?;
        while !self.sweep(16) {
            pause(Pause::Slice);
        }
        Ok(record)
    }

    /// Runs destructors of dead objects, on this thread, outside every lock, for as long as there
    /// are some or until `at_least` have run. Returns how many ran. Panics in them are caught
    /// and counted.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.enter().alloc(String::from("memory of its own"));
    /// heap.collect().unwrap();
    /// assert_eq!(heap.usage().doomed, 1);
    /// assert_eq!(heap.run_destructors(usize::MAX), 1);
    /// assert_eq!(heap.usage().doomed, 0);
    /// ```
    pub fn run_destructors(&self, at_least: usize) -> usize {
        self.0.run_destructors(at_least)
    }

    /// Asks the background collector for a cycle.
    ///
    /// ```
    /// use gc_core::{Collector, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let collector = Collector::start(&heap).unwrap();
    /// heap.request();
    /// while heap.stats().cycles == 0 {
    ///     std::thread::yield_now();
    /// }
    /// drop(collector);
    /// assert!(!heap.is_requested());
    /// ```
    pub fn request(&self) {
        self.0.request();
    }

    /// Bytes in objects, dead ones included until a cycle has found them.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let kept = heap.enter().root(heap.enter().alloc_slice(vec![1u8; 1000]));
    /// heap.enter().alloc_slice(vec![2u8; 10_000]);
    /// assert!(heap.live_bytes() > 11_000);
    /// heap.collect().unwrap();
    /// assert!((1000..2000).contains(&heap.live_bytes()));
    /// # drop(kept);
    /// ```
    pub fn live_bytes(&self) -> u64 {
        self.0.pace.live()
    }

    /// What the space holds.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.enter().alloc_slice(0..1000u64);
    /// assert!(heap.live_bytes() >= 8000 && heap.usage().held_bytes >= 8000);
    /// heap.collect().unwrap();
    /// assert_eq!(heap.live_bytes(), 0);
    /// ```
    pub fn usage(&self) -> Usage {
        self.0.engine.space.usage()
    }

    /// What happened so far.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.collect().unwrap();
    /// let stats = heap.stats();
    /// assert_eq!((stats.cycles, stats.waits.count()), (1, 1));
    /// assert_eq!(stats.last.unwrap().cycle, 1);
    /// println!("cycles waited {}, mutators were held up {}", stats.waits, stats.actions.all().wall);
    /// ```
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Whether the calling task holds a guard.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// assert!(heap.is_inside_guard());
    /// let elsewhere = heap.clone();
    /// assert!(!std::thread::spawn(move || elsewhere.is_inside_guard()).join().unwrap());
    /// drop(guard);
    /// assert!(!heap.is_inside_guard());
    /// ```
    pub fn is_inside_guard(&self) -> bool {
        self.0.is_inside_guard()
    }

    /// How many roots there are.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let one = heap.enter().root(heap.enter().alloc(7u64));
    /// let two = one.clone();
    /// assert_eq!(heap.roots(), 2);
    /// drop((one, two));
    /// assert_eq!(heap.roots(), 0);
    /// ```
    pub fn roots(&self) -> usize {
        self.0.engine.roots.count()
    }

    /// Who mutates.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, world::World};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let depth = || heap.world().nesting(|task| task.depth());
    /// let guard = heap.enter();
    /// assert_eq!(depth(), 1);
    /// drop(guard);
    /// assert_eq!(depth(), 0);
    /// ```
    pub fn world(&self) -> &H::World {
        &self.0.world
    }

    /// Where objects lie.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.space().set_limit(0);
    /// assert!(heap.enter().try_alloc(7u64).is_err());
    /// ```
    pub fn space(&self) -> &H::Space {
        &self.0.engine.space
    }
}

impl<H: Tag> Clone for Heap<H> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<H: Tag> fmt::Debug for Heap<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
