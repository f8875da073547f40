//! What a heap asks of those who collect it: when to run a cycle, who helps, how far it is.
//!
//! Whoever collects waits until a cycle is asked for, runs it, sweeps, and runs destructors; others may help to
//! mark meanwhile. [`Collector`](crate::Collector) does so on a thread; a runtime brings its own.

#[cfg(doc)]
use super::HeapBuilder;
use super::{Heap, Tag};
use crate::{
    counted::Counted,
    cycle::Pause,
    error::{AllocError, HeapError},
    inner::Wakers,
    pacer::Progress,
    stats::{Record, Waiting},
};
#[cfg(doc)]
use crate::{stats::Stats, world::World};
use std::time::Duration;

impl<H: Tag> Heap<H> {
    /// Runs a cycle without the sweep: what a background collector does when
    /// [`is_requested`](Self::is_requested).
    ///
    /// # Errors
    ///
    /// [`HeapError::InsideGuard`], [`HeapError::Disabled`], [`HeapError::Broken`], [`HeapError::Memory`]
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

    /// Calls `wake` whenever a cycle is asked for, from whatever task asked, outside
    /// [`World::with`]. Replaces a former one. [`Collector`](crate::Collector)s of the heap are
    /// woken besides.
    ///
    /// # Panics
    ///
    /// If there is no memory for it; [`try_set_waker`](Self::try_set_waker) returns that as a value.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    /// use std::thread;
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let driver = thread::current();
    /// heap.set_waker(move || driver.unpark());
    /// heap.request(); // as another thread would, when the heap has grown
    /// while !heap.is_requested() {
    ///     thread::park();
    /// }
    /// heap.cycle(|_| thread::yield_now()).unwrap();
    /// assert_eq!(heap.stats().cycles, 1);
    /// ```
    pub fn set_waker(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.try_set_waker(wake).unwrap_or_else(|refused| refused.panic());
    }

    /// As [`set_waker`](Self::set_waker).
    ///
    /// # Errors
    ///
    /// [`AllocError`] with what was passed in, if there is no memory for it. The former one stays.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// assert!(heap.try_set_waker(|| ()).is_ok());
    /// ```
    pub fn try_set_waker<F>(&self, wake: F) -> Result<(), AllocError<F>>
    where
        F: Fn() + Send + Sync + 'static,
    {
        self.0.wakers.set(Counted::try_call(wake).map_err(AllocError::new)?);
        Ok(())
    }

    pub(crate) fn wakers(&self) -> &Wakers {
        &self.0.wakers
    }

    /// Says, for whom a request has woken, that no cycle can be run now. It stays asked for, and the next who asks, or
    /// finds the heap at its trigger, [wakes](Self::set_waker) again; else one call serves all requests up to the
    /// next cycle.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    /// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
    ///
    /// let (heap, calls) = (Heap::<Plain>::new().unwrap(), Arc::new(AtomicU32::new(0)));
    /// let count = calls.clone();
    /// heap.set_waker(move || _ = count.fetch_add(1, Ordering::Relaxed));
    /// heap.request();
    /// heap.request();
    /// assert_eq!(calls.load(Ordering::Relaxed), 1, "whoever was woken knows");
    /// heap.decline(); // it found no thread
    /// heap.request();
    /// assert_eq!(calls.load(Ordering::Relaxed), 2);
    /// ```
    pub fn decline(&self) {
        self.0.decline();
    }

    /// Whether grey objects lie ready for others than those who put them there. A hint.
    pub fn is_work_ready(&self) -> bool {
        self.0.crew.is_ready()
    }

    /// Calls `recruit` whenever a worker has put aside work for others, from the worker's task,
    /// outside [`World::with`]. Whoever can be spared then calls [`help`](Self::help). Replaces a
    /// former one.
    ///
    /// # Panics
    ///
    /// If there is no memory for it; [`try_on_work`](Self::try_on_work) returns that as a value.
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
        self.try_on_work(recruit).unwrap_or_else(|refused| refused.panic());
    }

    /// As [`on_work`](Self::on_work).
    ///
    /// # Errors
    ///
    /// [`AllocError`] with what was passed in, if there is no memory for it. The former one stays.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// assert!(heap.try_on_work(|| ()).is_ok());
    /// ```
    pub fn try_on_work<F>(&self, recruit: F) -> Result<(), AllocError<F>>
    where
        F: Fn() + Send + Sync + 'static,
    {
        self.0.set_recruiter(Counted::try_call(recruit).map_err(AllocError::new)?);
        Ok(())
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
}
