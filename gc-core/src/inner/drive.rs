//! The driver: one whole cycle, from the pacer's numbers before it to those after, and destructors.
//!
//! One driver at a time: it has the driver's lock from step 0 to step 8. Whoever finds it taken waits
//! as it waits for anything else, by its own pause, so that a goroutine does not keep a P.

use super::{Core, lock};
use crate::{
    counted::Call,
    cycle::{Cycle, Pause},
    error::HeapError,
    heap::Tag,
    mark::{Counts, Marker, Worker},
    pacer::{Facts, LOOK, Pacer},
    policy::Collection,
    space::{Exhausted, Kind, Space},
    stats::{Record, Stopwatch, Waiting},
    world::World,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
    sync::{
        MutexGuard, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What only the driver of a cycle uses.
pub(super) struct Driver {
    pacer: Box<dyn Pacer>,
    marker: Marker,
    /// Bytes that the last cycle marked.
    marked: u64,
}

impl Driver {
    pub(super) fn new(pacer: Box<dyn Pacer>) -> Result<Self, Exhausted> {
        Ok(Self { pacer, marker: Marker::roomy()?, marked: 0 })
    }
}

/// Since when a driver waits in a handshake. Dropped, it does not: if it has unwound as well.
struct Waits<'a>(&'a AtomicU64);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        // Relaxed: a number for a report.
        self.0.store(0, Ordering::Relaxed);
    }
}

/// What calls for helpers; nothing, if there is nobody to be called.
fn called(recruiter: &Option<Call>) -> &dyn Fn() {
    match recruiter {
        Some(recruiter) => &**recruiter,
        None => &|| (),
    }
}

impl<H: Tag> Core<H> {
    /// The usual way to wait: let others run at once the first times, then nap.
    pub(crate) fn pause(&self, pause: Pause) {
        match pause {
            Pause::Slice => {}
            Pause::Handshake(asked)
            | Pause::Operation(asked)
            | Pause::Busy(asked)
            | Pause::Starved(asked) => {
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
        if self.collection() == Collection::Never {
            return Err(HeapError::Disabled);
        }
        self.join()?;
        let mut driver = self.become_driver(pause)?;
        let waits = Waits(&self.waiting);
        let record = self.drive(&mut driver, &mut |why| {
            self.note(why);
            pause(why);
        });
        drop(waits);
        self.note_end();
        drop(driver);
        if let Some(report) = &self.report {
            report(&record);
        }
        Ok(record)
    }

    /// Notes since when a handshake takes time.
    fn note(&self, pause: Pause) {
        let since = match pause {
            Pause::Handshake(0) => u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(0),
            Pause::Handshake(_) => return,
            Pause::Slice | Pause::Operation(_) | Pause::Busy(_) | Pause::Starved(_) => 0,
        };
        // Relaxed: a number for a report.
        self.waiting.store(since, Ordering::Relaxed);
    }

    pub(crate) fn waiting(&self) -> Option<Waiting> {
        // Relaxed: as in `note`.
        let since = self.waiting.load(Ordering::Relaxed);
        let age = self.began.elapsed().checked_sub(Duration::from_nanos(since))?;
        let epoch = (self.engine.epoch.current() as u64).wrapping_sub(1);
        (since != 0).then_some(Waiting { epoch, age })
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
        let Driver { pacer, marker, marked: expected } = driver;
        let mut looked = None;
        let pause = |why| {
            pause(why);
            self.ask(&mut **pacer, &mut looked);
        };
        let (engine, world, crew, cleanups) =
            (&*self.engine, &self.world, &self.crew, &self.cleanups);
        // SAFETY: the driver's lock makes us the only one, the world is the engine's, no guard is
        // held by this task, and the steps below are in order.
        let cycle =
            unsafe { Cycle::new(engine, world, &mut *marker, self.slice, pause, crew, cleanups) };
        let recruit = self.recruiter();
        let mut cycle = cycle.recruiting(called(&recruit));
        cycle.prepare();
        self.reserve.fill();
        record.sweep = watch.lap();
        let begun = self.began.elapsed();
        let under_way = self.pace.begin();
        let at_begin = self.pace.live();
        let closed = (self.collection() == Collection::StopTheWorld).then(|| self.gate.close());
        // Relaxed: a choice.
        cycle.start(self.hybrid.load(Ordering::Relaxed));
        closed.as_ref().inspect(|closed| closed.shut());
        record.hands = watch.lap();
        cycle.shade_roots();
        let at_mark = self.pace.live();
        self.pace.begin_mark(at_mark, *expected);
        let (number, rounds) = cycle.mark_to_the_end();
        let rescans = cycle.rescans();
        self.pace.end_mark();
        cycle.open(number);
        record.mark = watch.lap();
        // Relaxed: a switch for a diagnosis.
        record.checked = self.checkmark.load(Ordering::Relaxed) && self.check(number).is_ok();
        cycle.end();
        record.last_hand = watch.lap();
        if closed.is_some() {
            cycle.sweep();
            record.sweep += watch.lap();
        }
        drop(closed);
        let Counts { objects, bytes: marked, time: work, idle, idle_slices } =
            self.with(|_| self.crew.take_counts());
        *expected = marked;
        let at_end = self.pace.live();
        // What was allocated before `begin_mark` and survived is among the marked; what came later
        // is black, and stays for a cycle.
        let live = self.pace.settle(at_mark, marked);
        let held = self.engine.space.usage().held_bytes as u64;
        let now = self.began.elapsed();
        let facts = Facts {
            live,
            scanned: marked,
            grown: at_end.saturating_sub(at_begin),
            overhead: held.saturating_sub(at_end),
            work,
            idle,
            cycle: now - begun,
            period: now.saturating_sub(self.ended()),
            processors: self.world.processors(),
        };
        // The user's: it is not dropped under the lock.
        let new = lock(&self.pacer).take();
        if let Some(new) = new {
            *pacer = new;
        }
        let target = pacer.next(facts);
        under_way.ended(target);
        let record = Record {
            cycle: number - 1,
            rounds,
            rescans,
            heap_after: at_end,
            heap_live: live,
            marked_objects: objects,
            marked_bytes: marked,
            work,
            idle,
            idle_slices,
            goal: target.goal,
            trigger: target.trigger,
            longest_delay: self.longest_delay(),
            ..record
        };
        lock(&self.stats).add(&record);
        record
    }

    /// Asks the pacer whether mutators are to be spared, from time to time.
    fn ask(&self, pacer: &mut dyn Pacer, looked: &mut Option<Instant>) {
        let now = Instant::now();
        if looked.is_some_and(|looked| now.duration_since(looked) < LOOK) {
            return;
        }
        *looked = Some(now);
        let so_far = Facts {
            work: self.crew.spent(),
            period: self.since_cycle(),
            processors: self.world.processors(),
            ..Facts::default()
        };
        self.pace.relent(pacer.relents(so_far));
    }

    /// Helps to mark, if a round is under way.
    pub(crate) fn help(&self, pause: &mut dyn FnMut(Pause)) {
        if self.join().is_err() {
            return;
        }
        let recruit = self.recruiter();
        let (engine, world, crew) = (&*self.engine, &self.world, &self.crew);
        let worker = Worker::new(engine, world, crew, called(&recruit), self.slice);
        // SAFETY: all are this heap's.
        unsafe { worker.help(&mut Marker::default(), pause) };
    }

    /// Marks a slice for one who has nothing else to do; false if there is nothing to be had.
    pub(crate) fn mark_idle(&self) -> bool {
        // SAFETY: all are this heap's.
        self.borrow(|worker| unsafe { worker.idle() })
    }

    fn recruiter(&self) -> Option<Call> {
        lock(&self.recruiter).clone()
    }

    fn longest_delay(&self) -> Duration {
        let mut longest = Duration::ZERO;
        self.world.each(&mut |local| longest = longest.max(local.take_longest_delay()));
        longest
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
}
