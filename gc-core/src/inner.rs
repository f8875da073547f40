//! The core behind a heap: engine, world, pacing, and the one driver at a time.
//!
//! # The end
//!
//! The core's end drops every object that is left and gives all memory back. If a guard was leaked
//! (`mem::forget`), somebody may still hold what it protected, as far as the counters can tell.
//! Nothing overrules a guard, so then the memory is leaked and the tag stays taken.

use crate::{
    cycle::{Cycle, Pause},
    engine::Engine,
    error::HeapError,
    handshake::Pin,
    heap::Tag,
    local::Local,
    mark::Marker,
    pace::Pace,
    pacer::{Facts, Gogc, Pacer},
    space::{Kind, Space},
    stats::{Record, Stats, Stopwatch},
    world::World,
};
use std::{
    collections::HashSet,
    fmt,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// How long the outermost guard may be held up when the heap outruns its collector.
const RELIEF: Duration = Duration::from_millis(10);

type Waker = Arc<dyn Fn() + Send + Sync>;
type Report = Box<dyn Fn(&Record) + Send + Sync>;

/// What the builder chose.
pub(crate) struct Options {
    pub(crate) pacer: Box<dyn Pacer>,
    pub(crate) slice: usize,
    pub(crate) checkmark: bool,
    pub(crate) report: Option<Report>,
}

impl Default for Options {
    fn default() -> Self {
        Self { pacer: Box::new(Gogc::new(100)), slice: 4096, checkmark: false, report: None }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("slice", &self.slice)
            .field("checkmark", &self.checkmark)
            .finish_non_exhaustive()
    }
}

/// What only the driver of a cycle uses.
struct Driver {
    pacer: Box<dyn Pacer>,
    marker: Marker,
}

/// What heap handles, roots and guards share.
pub(crate) struct Core<H: Tag> {
    pub(crate) engine: ManuallyDrop<Engine<H::Space>>,
    pub(crate) world: H::World,
    pub(crate) pace: Pace,
    driver: Mutex<Driver>,
    /// A pacer for the next cycle to take over.
    pacer: Mutex<Option<Box<dyn Pacer>>>,
    ended: Mutex<Instant>,
    stats: Mutex<Stats>,
    panics: AtomicU64,
    destructed: AtomicU64,
    waker: Mutex<Option<Waker>>,
    slice: usize,
    checkmark: bool,
    report: Option<Report>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Values under these locks are whole between any two statements; poison carries no news.
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl<H: Tag> Core<H> {
    pub(crate) fn new(
        space: H::Space,
        world: H::World,
        options: Options,
    ) -> Result<Self, HeapError> {
        if !H::claim().take() {
            return Err(HeapError::TagInUse);
        }
        Ok(Self {
            engine: ManuallyDrop::new(Engine::new(space)),
            world,
            pace: Pace::new(options.pacer.first()),
            driver: Mutex::new(Driver { pacer: options.pacer, marker: Marker::default() }),
            pacer: Mutex::new(None),
            ended: Mutex::new(Instant::now()),
            stats: Mutex::default(),
            panics: AtomicU64::new(0),
            destructed: AtomicU64::new(0),
            waker: Mutex::new(None),
            slice: options.slice,
            checkmark: options.checkmark,
            report: options.report,
        })
    }

    /// Occupies the caller's local state.
    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&Local<H::Space>) -> R) -> R {
        self.world.with(&self.engine.space, f)
    }

    /// Counts a guard.
    #[inline]
    pub(crate) fn pin(&self) -> Pin {
        self.with(|local| self.engine.enter(local, || self.world.light()))
    }

    /// Counts a guard's end.
    ///
    /// # Safety
    ///
    /// `pin` came from [`pin`](Self::pin) and is left once.
    #[inline]
    pub(crate) unsafe fn unpin(&self, pin: Pin) {
        // SAFETY: the caller's.
        self.with(|local| unsafe { self.engine.leave(local, pin) });
    }

    /// Asks for a cycle. Called outside `with`.
    pub(crate) fn request(&self) {
        if self.pace.request() {
            let waker = lock(&self.waker).clone();
            if let Some(wake) = waker {
                wake();
            }
        }
    }

    pub(crate) fn set_waker(&self, waker: Option<Waker>) {
        let former = std::mem::replace(&mut *lock(&self.waker), waker);
        drop(former);
    }

    /// Changes the pacer. A cycle under way ends by the rules of the new one.
    pub(crate) fn set_pacer(&self, pacer: Box<dyn Pacer>) {
        self.pace.set(pacer.first());
        *lock(&self.pacer) = Some(pacer);
    }

    pub(crate) fn is_inside_guard(&self) -> bool {
        self.world.nesting(|nesting| nesting.depth()) != 0
    }

    pub(crate) fn since_cycle(&self) -> Duration {
        lock(&self.ended).elapsed()
    }

    /// After an allocation that took the space's slow path: counts, and looks at the pacer.
    #[cold]
    pub(crate) fn after_slow_path(&self, time: Duration) {
        let fresh = self.with(|local| {
            local.delayed(time);
            local.take_uncounted()
        });
        if self.pace.allocated(fresh) && !self.engine.phase.read().barrier() {
            self.request();
        }
    }

    /// Before an outermost guard: lets others run for a while if the heap has outrun a collector
    /// that is at work. Bounded, because whoever holds a guard may wait for a lock that the
    /// caller holds.
    #[inline]
    pub(crate) fn relieve(&self) {
        if self.pace.is_outrun() {
            self.relieve_slow();
        }
    }

    #[cold]
    fn relieve_slow(&self) {
        if self.is_inside_guard() {
            return;
        }
        let begin = Instant::now();
        while self.engine.phase.read().barrier()
            && self.pace.is_outrun()
            && begin.elapsed() < RELIEF
        {
            self.world.nap(RELIEF / 50);
        }
        let time = begin.elapsed();
        self.with(|local| local.delayed(time));
    }

    /// The usual way to wait: let others run at once the first times, then nap.
    pub(crate) fn pause(&self, pause: Pause) {
        match pause {
            Pause::Slice => {}
            Pause::Handshake(asked) | Pause::Busy(asked) => {
                let microseconds = if asked < 10 { 0 } else { 50 };
                self.world.nap(Duration::from_micros(microseconds));
            }
        }
    }

    /// Steps 0 to 8.
    pub(crate) fn cycle(&self, pause: &mut dyn FnMut(Pause)) -> Result<Record, HeapError> {
        if self.is_inside_guard() {
            return Err(HeapError::InsideGuard);
        }
        let mut driver = self.become_driver(pause)?;
        let record = self.drive(&mut driver, pause);
        *lock(&self.ended) = Instant::now();
        drop(driver);
        if let Some(report) = &self.report {
            report(&record);
        }
        Ok(record)
    }

    /// Waits for its turn to drive. Never again after a driver has unwound: nobody knows how far
    /// its cycle came, so the barrier stays as it is, and nothing more is freed.
    fn become_driver(
        &self,
        pause: &mut dyn FnMut(Pause),
    ) -> Result<MutexGuard<'_, Driver>, HeapError> {
        let mut asked = 0;
        loop {
            match self.driver.try_lock() {
                Ok(driver) => return Ok(driver),
                Err(TryLockError::Poisoned(_)) => return Err(HeapError::Broken),
                Err(TryLockError::WouldBlock) => pause(Pause::Busy(asked)),
            }
            asked += 1;
        }
    }

    fn drive(&self, driver: &mut Driver, pause: &mut dyn FnMut(Pause)) -> Record {
        let mut record = Record { heap_before: self.pace.live(), ..Record::default() };
        let mut watch = Stopwatch::start();
        let Driver { pacer, marker } = driver;
        // SAFETY: the driver's lock makes us the only one, the world is the engine's, no guard is
        // held by this task, and the steps below are in order.
        let mut cycle =
            unsafe { Cycle::new(&self.engine, &self.world, &mut *marker, self.slice, pause) };
        cycle.prepare();
        record.sweep = watch.lap();
        self.pace.begin();
        let at_begin = self.pace.live();
        cycle.start();
        record.hands = watch.lap();
        cycle.shade_roots();
        let at_mark = self.pace.live();
        let (number, rounds) = cycle.mark_to_the_end();
        cycle.open(number);
        record.mark = watch.lap();
        if self.checkmark {
            self.check(number);
        }
        cycle.end();
        record.last_hand = watch.lap();
        let (objects, marked) = marker.take_counts();
        let at_end = self.pace.live();
        let facts = Facts { marked, scanned: marked, grown: at_end.saturating_sub(at_begin) };
        if let Some(new) = lock(&self.pacer).take() {
            *pacer = new;
        }
        let target = pacer.next(facts);
        // What was allocated before `begin_mark` and survived is among the marked.
        self.pace.end(at_mark, marked, target);
        Record {
            cycle: number - 1,
            rounds,
            heap_after: at_end,
            heap_live: self.pace.live(),
            marked_objects: objects,
            marked_bytes: marked,
            goal: target.goal,
            trigger: target.trigger,
            longest_delay: self.longest_delay(),
            ..record
        }
        .tap(|record| lock(&self.stats).add(record))
    }

    fn longest_delay(&self) -> Duration {
        let mut longest = Duration::ZERO;
        self.world.each(&mut |local| longest = longest.max(local.take_longest_delay()));
        longest
    }

    /// Checkmark: marks again from the roots with a set and no barrier, and compares. Between
    /// steps 7 and 8, when nothing is swept, everything reachable is marked or newer.
    fn check(&self, cycle: u64) {
        let space = &self.engine.space;
        let mut seen = HashSet::new();
        let mut stack = crate::trace::Tracer::default();
        self.engine.roots.scan(|cell| stack.edge(cell));
        while let Some(cell) = stack.pop() {
            if !seen.insert(cell) {
                continue;
            }
            // SAFETY: the cell was reached from a root after step 7, and nobody sweeps before
            // step 8 is over.
            let (kind, fine) = unsafe {
                (space.kind(cell), space.is_marked(cell) || space.is_of_cycle(cell, cycle))
            };
            assert!(fine, "checkmark: {} at {cell:p} is reachable and white", (kind.name)());
            if let Some(trace) = kind.trace {
                // SAFETY: the object is of the cell's kind.
                unsafe { trace(cell, &mut stack) };
            }
        }
    }

    pub(crate) fn run_destructors(&self, at_least: usize) -> usize {
        let mut ran = 0;
        while ran < at_least {
            match self.engine.space.destruct(&mut |cell, kind| self.destruct(cell, kind)) {
                0 => break,
                some => ran += some,
            }
        }
        // Relaxed: a statistic.
        self.destructed.fetch_add(ran as u64, Ordering::Relaxed);
        ran
    }

    fn destruct(&self, cell: NonNull<u8>, kind: &Kind) {
        let Some(drop) = kind.drop else { return };
        // SAFETY: the space hands out each dead cell once, and nobody can reach it any more.
        let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { drop(cell) }));
        if let Err(payload) = outcome {
            // Relaxed: a statistic.
            self.panics.fetch_add(1, Ordering::Relaxed);
            // A payload's destructor may panic as well; it is not worth a second catch.
            std::mem::forget(payload);
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            // Relaxed: statistics.
            destructed: self.destructed.load(Ordering::Relaxed),
            panics: self.panics.load(Ordering::Relaxed),
            ..lock(&self.stats).clone()
        }
    }

    /// Whether every guard that was entered was left.
    fn is_quiet(&self) -> bool {
        let mut balance = 0usize;
        self.world.each(&mut |local| {
            for parity in 0..2 {
                let counters = &local.counters;
                balance = balance
                    .wrapping_add(counters.entries(parity))
                    .wrapping_sub(counters.exits(parity));
            }
        });
        balance == 0
    }
}

impl<H: Tag> Drop for Core<H> {
    fn drop(&mut self) {
        if !self.is_quiet() {
            return;
        }
        while self.run_destructors(usize::MAX) > 0 {}
        let mut left = Vec::new();
        // SAFETY: the last handle is gone: nobody allocates or sweeps.
        unsafe { self.engine.space.walk(&mut |cell, kind| left.push((cell, kind))) };
        for (cell, kind) in left {
            self.destruct(cell, kind);
        }
        // SAFETY: this is the end; the objects are dropped, and no pointer to them is left:
        // guards borrow a handle, roots own one.
        unsafe { ManuallyDrop::drop(&mut self.engine) };
        H::claim().release();
    }
}

impl<H: Tag> fmt::Debug for Core<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// Shows a value to a closure on its way out.
trait Tap: Sized {
    fn tap(self, f: impl FnOnce(&Self)) -> Self {
        f(&self);
        self
    }
}

impl Tap for Record {}
