//! [`Heap`]: the handle that users hold; [`Tag`]: which heap a pointer belongs to.
//!
//! Pointers carry a tag type instead of the heap's address. At most one heap per tag is alive at a
//! time ([`Claim`]), so a type that says "tag `H`" says which heap. Heap handles and roots share
//! the core behind the heap; the tag is free again when the last of them is gone.
//!
//! A tag also bundles the parts that are chosen together: where objects lie ([`Space`]) and who
//! mutates ([`World`]).

use crate::{
    cycle::Pause,
    error::HeapError,
    guard::Guard,
    inner::{Core, Options},
    pacer::{Gogc, Pacer},
    policy::{Collection, WriteBarrier},
    space::{Space, Usage, blocks::Blocks},
    stats::{Record, Stats, Waiting},
    world::{World, threads::Threads},
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Whether a tag's heap is alive. One `static` per tag.
#[derive(Debug)]
pub struct Claim(AtomicBool);

impl Claim {
    /// Nobody's yet.
    #[expect(clippy::new_without_default, reason = "a claim is a static, never a default value")]
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn take(&self) -> bool {
        // AcqRel: the former heap's end is before the new one's begin; pairs with `release`.
        !self.0.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn release(&self) {
        // Release: as above.
        self.0.store(false, Ordering::Release);
    }
}

/// Names a heap, and bundles its parts. [`tag!`](crate::tag) makes one.
///
/// # Safety
///
/// `claim` returns the same claim every time, and no other tag returns it.
pub unsafe trait Tag: Sized + Send + Sync + 'static {
    /// Where objects lie.
    type Space: Space;
    /// Who mutates.
    type World: World<Self::Space>;

    /// Whether the tag's heap is alive.
    fn claim() -> &'static Claim;
}

/// Declares a [`Tag`] for a heap of plain threads with memory from `malloc`.
///
/// ```
/// use gc_core::{Heap, HeapError};
///
/// gc_core::tag! {
///     /// The heap of the parser.
///     pub struct Parser;
/// }
///
/// let heap = Heap::<Parser>::new().unwrap();
/// assert_eq!(Heap::<Parser>::new().unwrap_err(), HeapError::TagInUse);
/// drop(heap);
/// Heap::<Parser>::new().unwrap();
/// ```
#[macro_export]
macro_rules! tag {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident;) => {
        $(#[$meta])*
        #[derive(Debug)]
        $visibility struct $name;

        // SAFETY: the claim is a static of its own, declared here.
        unsafe impl $crate::Tag for $name {
            type Space = $crate::space::blocks::Blocks;
            type World = $crate::world::threads::Threads;

            fn claim() -> &'static $crate::Claim {
                static CLAIM: $crate::Claim = $crate::Claim::new();
                &CLAIM
            }
        }
    };
}

tag! {
    /// The tag of programs with one heap of plain threads: what `Gc<'g, T>` means when no tag
    /// is named.
    pub struct Plain;
}

/// A handle to a collected heap. Clones share it.
pub struct Heap<H: Tag = Plain>(Arc<Core<H>>);

impl<H: Tag<Space = Blocks, World = Threads>> Heap<H> {
    /// A heap with memory from `malloc`, plain threads, and Go's default growth of 100 percent.
    ///
    /// # Errors
    ///
    /// [`HeapError::TagInUse`]
    pub fn new() -> Result<Self, HeapError> {
        Self::builder().build(Blocks::new(), Threads::new())
    }
}

impl<H: Tag> Heap<H> {
    pub(crate) fn core(&self) -> &Arc<Core<H>> {
        &self.0
    }

    /// Choices to make before the heap begins.
    pub fn builder() -> HeapBuilder<H> {
        HeapBuilder { options: Options::default(), tag: std::marker::PhantomData }
    }

    /// Enters a guard. Guards nest.
    ///
    /// Waits for nothing. When the heap has outrun a collector that is at work (by a tenth of its
    /// goal, or to a memory limit: see [`pacer`](crate::pacer)), the outermost guard of a task marks some
    /// hundred objects first; if there is nothing to mark just then, it may wait for up to 10 ms, if
    /// nobody else is ready. With [`Collection::StopTheWorld`] the outermost guard waits for the end of a
    /// collection that has begun.
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
    pub fn collect(&self) -> Result<Record, HeapError> {
        self.collect_with(|pause| self.0.pause(pause))
    }

    /// As [`collect`](Self::collect), with the caller's way to let others run.
    ///
    /// # Errors
    ///
    /// [`HeapError::InsideGuard`], [`HeapError::Disabled`], [`HeapError::Broken`]
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

    /// Calls `recruit` whenever a worker has put aside work for others, from the worker's task,
    /// outside [`World::with`]. Whoever can be spared then calls [`help`](Self::help). Replaces a
    /// former one.
    pub fn on_work(&self, recruit: impl Fn() + Send + Sync + 'static) {
        self.0.set_recruiter(Arc::new(recruit));
    }

    /// Sweeps about `spans` spans. True when none waits.
    pub fn sweep(&self, spans: usize) -> bool {
        self.0.sweep(spans)
    }

    /// Runs destructors of dead objects, on this thread, outside every lock, for as long as there
    /// are some or until `at_least` have run. Returns how many ran. Panics in them are caught
    /// and counted.
    pub fn run_destructors(&self, at_least: usize) -> usize {
        self.0.run_destructors(at_least)
    }

    /// Asks the background collector for a cycle.
    pub fn request(&self) {
        self.0.request();
    }

    /// Whether somebody asked for a cycle that has not begun.
    pub fn is_requested(&self) -> bool {
        self.0.is_requested()
    }

    /// Whether the heap has grown beyond its goal by so much that guards are held up.
    pub fn is_outrun(&self) -> bool {
        self.0.pace.is_outrun()
    }

    /// The handshake that a cycle has been waiting in, if it did not end at the first look.
    pub fn waiting(&self) -> Option<Waiting> {
        self.0.waiting()
    }

    /// Bytes in objects, dead ones included until a cycle has found them.
    pub fn live_bytes(&self) -> u64 {
        self.0.pace.live()
    }

    /// What the space holds.
    pub fn usage(&self) -> Usage {
        self.0.engine.space.usage()
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Whether the calling task holds a guard.
    pub fn is_inside_guard(&self) -> bool {
        self.0.is_inside_guard()
    }

    /// How many roots there are.
    pub fn roots(&self) -> usize {
        self.0.engine.roots.count()
    }

    /// Who mutates.
    pub fn world(&self) -> &H::World {
        &self.0.world
    }

    /// Where objects lie.
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
    pub fn set_collection(&self, collection: Collection) {
        self.0.set_collection(collection);
    }

    /// Changes what stores log, from the next cycle on.
    pub fn set_write_barrier(&self, barrier: WriteBarrier) {
        self.0.set_write_barrier(barrier);
    }

    /// Turns checkmark on or off, from the next cycle on. See [`HeapBuilder::checkmark`].
    pub fn set_checkmark(&self, on: bool) {
        self.0.set_checkmark(on);
    }

    /// How long ago the last cycle ended, or the heap began.
    pub fn since_cycle(&self) -> Duration {
        self.0.since_cycle()
    }

    /// Calls `wake` whenever a cycle is asked for, from whatever task asked, outside
    /// [`World::with`]. Replaces a former one; `None` takes it away.
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

/// Choices to make before a heap begins. Comes from [`Heap::builder`].
pub struct HeapBuilder<H: Tag> {
    options: Options,
    tag: std::marker::PhantomData<fn() -> H>,
}

impl<H: Tag> HeapBuilder<H> {
    /// When cycles begin. Default: [`Gogc`] with 100 percent.
    pub fn pacer(mut self, pacer: impl Pacer + 'static) -> Self {
        self.options.pacer = Box::new(pacer);
        self
    }

    /// [`Gogc`] with this percentage.
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
