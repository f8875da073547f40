//! The core behind a heap: engine, world, pacing. What handles, guards and roots share.
//!
//! | file | job |
//! |---|---|
//! | `checkmark` | what looks whether a cycle overlooked anything |
//! | `drive` | whoever runs a cycle on it |
//! | `end` | its end, and that of all objects |
//! | `options` | what the builder chose |
//! | `relief` | what mutators do for a collector that is behind |
//! | `wakers` | whom a request wakes |

mod checkmark;
mod drive;
mod end;
mod options;
mod relief;
mod wakers;

use self::drive::Driver;
pub(crate) use self::options::Options;
pub(crate) use self::wakers::Wakers;
use crate::{
    cleanup::{Cleanups, WaiterOf},
    counted::{Call, Counted, Vacant},
    engine::Engine,
    error::HeapError,
    gate::Gate,
    handshake::Pin,
    heap::Tag,
    local::{Local, Operation},
    lock::{
        Lot, RawOnce,
        raw::{RawLock, Want},
    },
    log::Reserve,
    mark::crew::Crew,
    pace::Pace,
    pacer::Pacer,
    policy::{Collection, WriteBarrier},
    space::Space,
    stats::{Actions, Record, Stats},
    world::{Nesting, World},
};
use std::{
    fmt,
    mem::ManuallyDrop,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

type Report = Box<dyn Fn(&Record) + Send + Sync>;

/// What heap handles, roots and guards share.
pub(crate) struct Core<H: Tag> {
    pub(crate) engine: ManuallyDrop<Engine<H::Space>>,
    pub(crate) world: H::World,
    pub(crate) pace: Pace,
    driver: Mutex<Driver>,
    /// A pacer for the next cycle to take over.
    pacer: Mutex<Option<Box<dyn Pacer>>>,
    gate: Gate,
    /// For stores that find no memory.
    pub(crate) reserve: Reserve,
    collection: AtomicU8,
    /// Whether stores are to log what they put in, from the next cycle on.
    hybrid: AtomicBool,
    began: Instant,
    /// When the last cycle ended: nanoseconds since `began`. No lock: a monitor asks, which must not
    /// wait for a driver that was preempted.
    ended: AtomicU64,
    /// When the handshake under way was found to take time, likewise; 0: none is.
    waiting: AtomicU64,
    stats: Mutex<Stats>,
    panics: AtomicU64,
    assists: AtomicU64,
    destructed: AtomicU64,
    /// Time in sweep after a cycle, in nanoseconds.
    swept: AtomicU64,
    pub(crate) wakers: Wakers,
    pub(crate) crew: Crew,
    recruiter: Mutex<Option<Call>>,
    lot: Lot<WaiterOf<H>>,
    /// Who is told of deaths.
    pub(crate) cleanups: Cleanups<WaiterOf<H>>,
    slice: usize,
    checkmark: AtomicBool,
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
    ) -> Result<Counted<Self>, HeapError> {
        let pacer = options::pacer(options.pacer?)?;
        // The user's, and may panic; what follows may be refused: before the tag is taken.
        let pace = Pace::new(pacer.first());
        let (driver, crew, report) = (Driver::new(pacer)?, Crew::new()?, options.report?);
        let place = Vacant::new()?;
        if !H::claim().take() {
            return Err(HeapError::TagInUse);
        }
        Ok(place.fill(Self {
            engine: ManuallyDrop::new(Engine::new(space)),
            world,
            pace,
            driver: Mutex::new(driver),
            pacer: Mutex::new(None),
            gate: Gate::default(),
            reserve: Reserve::default(),
            collection: AtomicU8::new(options.collection.number()),
            hybrid: AtomicBool::new(options.write_barrier == WriteBarrier::Hybrid),
            began: Instant::now(),
            ended: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            stats: Mutex::default(),
            panics: AtomicU64::new(0),
            assists: AtomicU64::new(0),
            destructed: AtomicU64::new(0),
            swept: AtomicU64::new(0),
            wakers: Wakers::default(),
            crew,
            recruiter: Mutex::new(None),
            lot: Lot::default(),
            cleanups: Cleanups::default(),
            slice: options.slice,
            checkmark: AtomicBool::new(options.checkmark),
            report,
        }))
    }

    /// Makes sure that the caller has a local state, as it must before it occupies that.
    #[inline]
    pub(crate) fn join(&self) -> Result<(), HeapError> {
        self.try_with(|_, _| ()).map_or_else(|| self.join_slow(|_| ()), Ok)
    }

    /// As [`with`](Self::with), of a caller that may have no local state yet.
    #[cold]
    fn join_slow<R>(&self, f: impl FnOnce(&Local<H::Space>) -> R) -> Result<R, HeapError> {
        // SAFETY: the world is used with this space alone; as in `with`.
        Ok(unsafe { self.world.join(&self.engine.space, f) }?)
    }

    /// Occupies the caller's local state. What this crate passes obeys the rules of
    /// [`World::with`](World::with): it counts, stores, and takes cells.
    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&Local<H::Space>) -> R) -> R {
        // SAFETY: as above.
        unsafe { self.world.with(&self.engine.space, f) }
    }

    /// As [`with`](Self::with), if the local state is at hand.
    #[inline(always)]
    fn try_with<R>(&self, f: impl FnOnce(&Local<H::Space>, &Nesting) -> R) -> Option<R> {
        // SAFETY: as in `with`.
        unsafe { self.world.try_with(f) }
    }

    /// Runs one operation on the caller's local state.
    #[inline(always)]
    pub(crate) fn operate<R>(&self, f: impl FnOnce(&Operation<'_, H::Space>) -> R) -> R {
        self.with(|local| {
            // SAFETY: `with` makes us the occupant, and calls of it do not nest.
            let operation = unsafe { Operation::begin(local, || self.world.light()) };
            f(&operation)
        })
    }

    /// As [`operate`](Self::operate), if the local state is at hand; else `None`, and the long way is
    /// `operate`.
    #[inline(always)]
    pub(crate) fn try_operate<R>(
        &self,
        f: impl FnOnce(&Operation<'_, H::Space>) -> R,
    ) -> Option<R> {
        self.try_with(|local, _| {
            // SAFETY: as in `operate`.
            let operation = unsafe { Operation::begin(local, || self.world.light()) };
            f(&operation)
        })
    }

    /// Counts a guard. Panics if it is refused.
    #[inline]
    pub(crate) fn pin(&self) -> Pin {
        self.try_pin().unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// Counts a guard. Refused if the caller has not joined, and there is no memory for it; or if it holds as many
    /// as can be counted.
    #[inline]
    pub(crate) fn try_pin(&self) -> Result<Pin, HeapError> {
        match self.try_with(|local, nesting| self.pin_on(local, nesting)) {
            Some(Some(pin)) => Ok(pin),
            None | Some(None) => self.pin_slow(),
        }
    }

    #[cold]
    #[inline(never)]
    fn pin_slow(&self) -> Result<Pin, HeapError> {
        // In one step: between two the task might come to where it has no local state.
        self.join_slow(|local| self.world.nesting(|nesting| self.pin_on(local, nesting)))?
            .ok_or(HeapError::TooManyGuards)
    }

    /// Inside the world, so that nobody is descheduled as a holder whom nobody knows. `None`, and nothing was
    /// counted, if the task's count is full: here nothing may unwind.
    #[inline(always)]
    fn pin_on(&self, local: &Local<H::Space>, nesting: &Nesting) -> Option<Pin> {
        if nesting.is_full() {
            return None;
        }
        // SAFETY: `with` and `try_with` make us the occupant, of the engine's world.
        let pin = unsafe { self.engine.enter(local, || self.world.light()) };
        nesting.push(pin.epoch());
        Some(pin)
    }

    /// Counts a guard's end. If a handshake waits for it, and it was the task's last, others may have
    /// their turn.
    ///
    /// # Safety
    ///
    /// `pin` came from [`pin`](Self::pin) and is left once.
    #[inline]
    pub(crate) unsafe fn unpin(&self, pin: Pin) {
        // SAFETY: the caller's.
        let attempt = self.try_with(|local, nesting| unsafe { self.unpin_on(local, nesting, pin) });
        let left = match attempt {
            Some(left) => left,
            // SAFETY: as above; the pin was not left yet.
            None => unsafe { self.unpin_slow(pin) },
        };
        if left == 0 && self.engine.epoch.has_passed(pin) {
            self.world.released();
        }
    }

    /// # Safety
    ///
    /// As [`unpin`](Self::unpin).
    #[cold]
    #[inline(never)]
    unsafe fn unpin_slow(&self, pin: Pin) -> u64 {
        self.with(|local| {
            // SAFETY: the caller's.
            self.world.nesting(|nesting| unsafe { self.unpin_on(local, nesting, pin) })
        })
    }

    /// How many guards the task still holds.
    ///
    /// # Safety
    ///
    /// As [`unpin`](Self::unpin).
    #[inline(always)]
    unsafe fn unpin_on(&self, local: &Local<H::Space>, nesting: &Nesting, pin: Pin) -> u64 {
        // SAFETY: the caller's.
        unsafe { self.engine.leave(local, pin) };
        nesting.pop()
    }

    /// Waits until a lock may be to be had.
    #[cold]
    pub(crate) fn wait_for(&self, lock: &RawLock, want: Want, late: bool) {
        self.lot.wait(&self.world, lock, want, late);
    }

    /// Wakes who waits for a lock.
    #[cold]
    pub(crate) fn wake(&self, lock: &RawLock) {
        self.lot.wake(&self.world, lock);
    }

    /// Makes the value of a place that is set once, or waits for who does.
    #[cold]
    pub(crate) fn make_once<'a, T>(
        &self,
        place: &'a RawOnce<T>,
        make: impl FnOnce() -> T,
    ) -> &'a T {
        place.make(&self.lot, &self.world, make)
    }

    /// Asks for a cycle. Called outside `with`.
    pub(crate) fn request(&self) {
        if self.collection() != Collection::Never && self.pace.request() {
            self.wakers.wake();
        }
    }

    /// Nobody can run the cycle that was asked for.
    pub(crate) fn decline(&self) {
        self.pace.decline();
    }

    /// Whether somebody asked for a cycle, and may have one.
    pub(crate) fn is_requested(&self) -> bool {
        self.collection() != Collection::Never && self.pace.is_requested()
    }

    pub(crate) fn set_recruiter(&self, recruiter: Call) {
        let former = lock(&self.recruiter).replace(recruiter);
        drop(former);
    }

    pub(crate) fn set_checkmark(&self, on: bool) {
        // Relaxed: a switch for a diagnosis.
        self.checkmark.store(on, Ordering::Relaxed);
    }

    /// Changes the pacer. A cycle under way ends by the rules of the new one.
    pub(crate) fn set_pacer(&self, pacer: Box<dyn Pacer>) {
        self.pace.set(pacer.first());
        let former = lock(&self.pacer).replace(pacer);
        drop(former);
    }

    pub(crate) fn collection(&self) -> Collection {
        // Relaxed: a choice, taken when a cycle begins.
        Collection::of(self.collection.load(Ordering::Relaxed))
    }

    pub(crate) fn set_collection(&self, collection: Collection) {
        // Relaxed: as above.
        self.collection.store(collection.number(), Ordering::Relaxed);
        // For a request from before there were none.
        if self.is_requested() {
            self.wakers.wake();
        }
    }

    pub(crate) fn set_write_barrier(&self, barrier: WriteBarrier) {
        // Relaxed: as above.
        self.hybrid.store(barrier == WriteBarrier::Hybrid, Ordering::Relaxed);
    }

    pub(crate) fn is_inside_guard(&self) -> bool {
        self.world.nesting(|nesting| nesting.depth()) != 0
    }

    pub(crate) fn since_cycle(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.ended())
    }

    /// When the last cycle ended, since the heap began.
    fn ended(&self) -> Duration {
        // Relaxed: a time, which means the same to everybody.
        Duration::from_nanos(self.ended.load(Ordering::Relaxed))
    }

    /// A cycle ends now.
    pub(crate) fn note_end(&self) {
        let ended = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // Relaxed: as in `since_cycle`.
        self.ended.store(ended, Ordering::Relaxed);
    }

    /// Sweeps about so many spans. True when none waits.
    pub(crate) fn sweep(&self, spans: usize) -> bool {
        let begin = Instant::now();
        let done = self.engine.space.sweep(spans);
        let time = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // Relaxed: a statistic.
        self.swept.fetch_add(time, Ordering::Relaxed);
        done
    }

    pub(crate) fn stats(&self) -> Stats {
        let (mut actions, mut slow_paths) = (Actions::default(), Duration::ZERO);
        self.world.each(&mut |local| {
            local.add_actions(&mut actions);
            slow_paths += local.slow_paths();
        });
        let stats = lock(&self.stats).clone();
        Stats {
            actions,
            slow_paths,
            // Relaxed: statistics.
            destructed: self.destructed.load(Ordering::Relaxed),
            panics: self.panics.load(Ordering::Relaxed),
            assists: self.assists.load(Ordering::Relaxed),
            sweep: stats.sweep + Duration::from_nanos(self.swept.load(Ordering::Relaxed)),
            ..stats
        }
    }
}

impl<H: Tag> fmt::Debug for Core<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
