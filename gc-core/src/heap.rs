//! [`Heap`]: the handle that users hold; [`Tag`]: which heap a pointer belongs to.
//!
//! Pointers carry a tag type instead of the heap's address. At most one heap per tag is alive at a
//! time ([`Claim`]), so a type that says "tag `H`" says which heap. Heap handles and roots share
//! the core behind the heap; the tag is free again when the last of them is gone.
//!
//! A tag also bundles the parts that are chosen together: where objects lie ([`Space`]) and who
//! mutates ([`World`]).

mod builder;
mod tag;

pub use self::{
    builder::HeapBuilder,
    tag::{Claim, Plain, Tag},
};

#[cfg(doc)]
use crate::world::World;
use crate::{
    cycle::Pause,
    error::HeapError,
    guard::Guard,
    inner::Core,
    pacer::{Pacer, Progress},
    policy::{Collection, WriteBarrier},
    space::{Space, Usage, blocks::Blocks},
    stats::{Record, Stats, Waiting},
    world::threads::Threads,
};
use std::{fmt, sync::Arc, time::Duration};

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
pub struct Heap<H: Tag = Plain>(Arc<Core<H>>);

impl<H: Tag<Space = Blocks, World = Threads>> Heap<H> {
    /// A heap with memory from `malloc`, plain threads, and Go's default growth of 100 percent.
    ///
    /// # Errors
    ///
    /// [`HeapError::TagInUse`]
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
    pub(crate) fn core(&self) -> &Arc<Core<H>> {
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
    #[inline]
    pub fn enter(&self) -> Guard<'_, H> {
        self.0.relieve();
        Guard::enter(&self.0)
    }

    /// Runs a whole cycle and sweeps: every object that was unreachable before the call is gone,
    /// or waits for its destructor ([`run_destructors`](Self::run_destructors)).
    ///
    /// Waits for all guards that are held now, by letting others run.
    ///
    /// # Errors
    ///
    /// [`HeapError::InsideGuard`], [`HeapError::Disabled`], [`HeapError::Broken`]
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
    /// [`HeapError::InsideGuard`], [`HeapError::Disabled`], [`HeapError::Broken`]
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

    /// Runs a cycle without the sweep: what a background collector does when
    /// [`is_requested`](Self::is_requested).
    ///
    /// # Errors
    ///
    /// [`HeapError::InsideGuard`], [`HeapError::Disabled`], [`HeapError::Broken`]
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.request();
    /// if heap.is_requested() {
    ///     heap.cycle(|_| std::thread::yield_now()).unwrap();
    ///     while !heap.sweep(32) {}
    ///     heap.run_destructors(usize::MAX);
    /// }
    /// assert_eq!(heap.stats().cycles, 1);
    /// assert!(!heap.is_requested());
    /// ```
    pub fn cycle(&self, mut pause: impl FnMut(Pause)) -> Result<Record, HeapError> {
        self.0.cycle(&mut pause)
    }

    /// Helps the driver of a cycle to mark, until there is nothing left to do, or at once if there is
    /// nothing. Any thread may; a guard that the caller holds does not matter here, but delays the
    /// cycle's end.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.help(|_| std::thread::yield_now()); // no cycle runs
    /// ```
    pub fn help(&self, mut pause: impl FnMut(Pause)) {
        self.0.help(&mut pause);
    }

    /// How far marking is, and how far it should be.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, pacer::Progress};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// assert_eq!(heap.progress(), Progress::default(), "no cycle runs");
    /// ```
    pub fn progress(&self) -> Progress {
        self.0.progress()
    }

    /// Whether grey objects lie ready for others than those who put them there. A hint.
    pub fn is_work_ready(&self) -> bool {
        self.0.crew.is_ready()
    }

    /// Marks one [`slice`](HeapBuilder::slice) of what lies ready, and puts back what is left: for a
    /// processor that has nothing else to do, which looks for that between two calls. False if nothing
    /// lies ready. The time is in [`Stats::idle`], and does not count as the collector's where the
    /// [pacer](crate::pacer) asks how much it takes.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// assert!(!heap.is_work_ready() && !heap.mark_idle(), "no cycle runs");
    /// assert_eq!(heap.stats().idle_slices, 0);
    /// ```
    pub fn mark_idle(&self) -> bool {
        self.0.mark_idle()
    }

    /// Calls `recruit` whenever a worker has put aside work for others, from the worker's task,
    /// outside [`World::with`]. Whoever can be spared then calls [`help`](Self::help). Replaces a
    /// former one.
    ///
    /// ```
    /// use gc_core::{GcCell, Heap, Plain};
    /// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let wide = {
    ///     let guard = heap.enter();
    ///     guard.root(guard.alloc_slice((0..10_000u64).map(|n| GcCell::new(Some(guard.alloc(n))))))
    /// };
    /// let asked = Arc::new(AtomicUsize::new(0));
    /// let count = asked.clone();
    /// // A pool would wake a thread here, and that would call `heap.help`.
    /// heap.on_work(move || drop(count.fetch_add(1, Ordering::Relaxed)));
    /// assert_eq!(heap.collect().unwrap().marked_objects, 10_001);
    /// assert!(asked.load(Ordering::Relaxed) > 0);
    /// # drop(wide);
    /// ```
    pub fn on_work(&self, recruit: impl Fn() + Send + Sync + 'static) {
        self.0.set_recruiter(Arc::new(recruit));
    }

    /// Sweeps about `spans` spans. True when none waits.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.enter().alloc_slice(vec![7u8; 1 << 20]);
    /// heap.cycle(|_| ()).unwrap();
    /// assert!(heap.usage().held_bytes > 1 << 20, "found dead, and still there");
    /// while !heap.sweep(8) {}
    /// assert!(heap.usage().held_bytes < 1 << 20);
    /// ```
    pub fn sweep(&self, spans: usize) -> bool {
        self.0.sweep(spans)
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

    /// Whether somebody asked for a cycle that has not begun.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.request();
    /// assert!(heap.is_requested());
    /// heap.collect().unwrap();
    /// assert!(!heap.is_requested(), "served");
    /// ```
    pub fn is_requested(&self) -> bool {
        self.0.is_requested()
    }

    /// Whether the heap has grown beyond its goal by so much that guards are held up.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, pacer::Every};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.set_pacer(Every(1 << 16)); // and nobody collects
    /// let guard = heap.enter();
    /// for n in 0..20_000u64 {
    ///     guard.alloc([n; 8]);
    /// }
    /// drop(guard);
    /// assert!(heap.is_outrun());
    /// heap.collect().unwrap();
    /// assert!(!heap.is_outrun());
    /// ```
    pub fn is_outrun(&self) -> bool {
        self.0.pace.is_outrun()
    }

    /// The handshake that a cycle has been waiting in, if it did not end at the first look.
    ///
    /// ```
    /// use gc_core::{Collector, Heap, Plain, world::World};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let collector = Collector::start(&heap).unwrap();
    /// let guard = heap.enter();
    /// heap.request();
    /// let waiting = loop {
    ///     match heap.waiting() {
    ///         Some(waiting) => break waiting,
    ///         None => std::thread::yield_now(),
    ///     }
    /// };
    /// assert_eq!(heap.world().nesting(|task| task.epoch()), Some(waiting.epoch), "it is us");
    /// drop(guard);
    /// drop(collector);
    /// ```
    pub fn waiting(&self) -> Option<Waiting> {
        self.0.waiting()
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

    /// Changes when cycles begin, from now on.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, pacer::Every};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.set_pacer(Every(1 << 20));
    /// assert_eq!(heap.collect().unwrap().trigger, 1 << 20);
    /// ```
    pub fn set_pacer(&self, pacer: impl Pacer + 'static) {
        self.0.set_pacer(Box::new(pacer));
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

    /// How long ago the last cycle ended, or the heap began.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    /// use std::time::Duration;
    ///
    /// /// Collects a heap that nobody has collected for long.
    /// fn at_least_every(heap: &Heap<Plain>, long: Duration) {
    ///     if heap.since_cycle() >= long {
    ///         heap.collect().unwrap();
    ///     }
    /// }
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// at_least_every(&heap, Duration::from_secs(86_400));
    /// assert_eq!(heap.stats().cycles, 0);
    /// at_least_every(&heap, Duration::ZERO);
    /// assert_eq!(heap.stats().cycles, 1);
    /// ```
    pub fn since_cycle(&self) -> Duration {
        self.0.since_cycle()
    }

    /// Calls `wake` whenever a cycle is asked for, from whatever task asked, outside
    /// [`World::with`]. Replaces a former one; `None` takes it away.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    /// use std::{sync::Arc, thread};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let driver = thread::current();
    /// heap.set_waker(Some(Arc::new(move || driver.unpark())));
    /// heap.request(); // as another thread would, when the heap has grown
    /// while !heap.is_requested() {
    ///     thread::park();
    /// }
    /// heap.cycle(|_| thread::yield_now()).unwrap();
    /// assert_eq!(heap.stats().cycles, 1);
    /// ```
    pub fn set_waker(&self, wake: Option<Arc<dyn Fn() + Send + Sync>>) {
        self.0.set_waker(wake);
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
