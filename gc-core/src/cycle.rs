//! The cycle: nine steps that never stop anyone.
//!
//! ```text
//! 1 on       barrier on, allocate grey until step 5    2 hand 1   everyone sees the barrier
//! 3 hand 2   guards from before are gone               4 roots    shade the targets of all roots
//! 5 mark     phase word says mark: allocate black; drain until no grey
//! 6 hand 3   clear dirty before the emptiness check; every white→marked by anyone sets it;
//!            weak pointers to what is marked, and news of it, need no second look; after hand 3, logs drained:
//!            dirty? back to 5
//! 7 off      CAS(mark, clean → off), spans wait for sweep; weak pointers to the dead are emptied, their tokens moved
//! 8 hand 4   late logs are gone; nobody sweeps before it
//! 9 sweep    lazily, by allocators and in the background
//! ```
//!
//! Hands 1, 3 and 4 wait for *operations*, stores and allocations that are under way: microseconds.
//! Hand 2 waits for *guards*, and is the only one that does. See [`handshake`](crate::handshake).
//!
//! # Why each step is there
//!
//! - *Hand 1* ends when every store logs what it takes out. *Hand 2* begins then: guards from
//!   before it may hold what was taken out unlogged, or what a neighbour took out for them, and
//!   when they are gone, every pointer in anyone's hand was reached while everybody logged. In
//!   one, that is hand 2 beside stores that do not log yet, a guard that is too new to be waited for
//!   loads what such a store deletes a moment later.
//! - *Grey until 5*: see [`engine`](crate::engine).
//! - *Hand 3 with the dirty bit*: a log may be written after the drain that came too early to
//!   see it. After hand 3 all deletions from before it are in the logs; if draining those (or
//!   anything else since the last look) turned nothing from white to marked, the marked set was
//!   closed at one moment, and no later deletion can open it again.
//! - *Hand 4*: allocations with a reading from before step 7 may still be about to mark a cell
//!   they took, and late logs may still be written. Sweep must see the former and the next
//!   cycle must not see the latter: it throws away what it finds before step 1.
//!
//! # A guard that is held for long
//!
//! While hand 2 waits, every store is an exchange and every deletion is logged. That is for guards that
//! come meanwhile, and a program that builds a large structure under one guard has no others: it pays for
//! nobody. So when the guard that is waited for is the only one, and has been for a while, the driver takes
//! step 1 back, waits on with the barrier off, and begins again when the guard is gone: steps 1 to 3 once
//! more, and this time to the end. Nothing was marked yet and nothing is swept until step 9, so what late
//! operations of the first beginning do is right in the second one: a log entry too many leads to an object
//! that is there. An outermost guard that comes when the one that was waited for is gone, and before the driver has
//! seen it, waits a moment for the second beginning (`inner::relief`): else it would be waited for in its turn, and
//! with the barrier on.
//!
//! Explicit-state search over three objects and two mutators finds a bad interleaving when any one
//! of these is taken away (`loom-tests/src/search`); loom finds the missing orderings
//! (`loom-tests/tests/gc_cycle.rs`).
//!
//! The driver waits by calling `pause`, which belongs to whoever runs it: a thread yields and
//! sleeps, a goroutine yields and parks. Nobody else waits for it.

use crate::{
    cleanup::Cleanups,
    engine::Engine,
    handshake::{Counters, Handshake},
    local::Local,
    mark::{Marker, Worker, crew::Crew},
    space::Space,
    weak::Pieces,
    world::World,
};
use core::fmt;

/// Chunks of a log that are read at a time: some 32,000 cells.
const CHUNKS: usize = 64;

/// After how many looks for the end of a guard the barrier is not kept on for it. As the runtime
/// waits, some twenty milliseconds; thirty if others want its P, when its looks are sleeps sooner.
const PATIENCE: u32 = 52;

/// Why the driver of a cycle gives others a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Pause {
    /// A slice of marking or sweeping is done; there is more.
    Slice,
    /// Guards from before are still held; asked for the n-th time.
    Handshake(u32),
    /// A mutator is in the middle of a store or an allocation; asked for the n-th time. It runs, or
    /// the kernel has taken its processor.
    Operation(u32),
    /// Another driver runs a cycle; asked for the n-th time.
    Busy(u32),
    /// A worker has nothing to mark, and others may yet share; asked for the n-th time.
    Starved(u32),
}

/// One driver of one heap's cycles. Its methods are the steps, in order.
#[doc(hidden)]
pub struct Cycle<'a, S: Space, W: World<S>, P> {
    engine: &'a Engine<S>,
    world: &'a W,
    marker: &'a mut Marker,
    /// Objects per slice of marking.
    slice: usize,
    patience: u32,
    pause: P,
    crew: &'a Crew,
    cleanups: &'a Cleanups<W::Waiter>,
    recruit: &'a dyn Fn(),
    /// Slots of weak objects whose targets were white when they were sifted.
    white: Pieces,
    rescans: u32,
}

impl<'a, S: Space, W: World<S>, P: FnMut(Pause)> Cycle<'a, S, W, P> {
    /// A driver. `slice` is how many objects are marked between two pauses; helpers of the crew may
    /// mark with it.
    ///
    /// # Safety
    ///
    /// Until the value is gone, nobody else drives a cycle of this engine; the crew and the cleanup queues are the
    /// engine's; `world` is the one whose local states are used with the engine; the caller's task holds no guard.
    /// The steps are called in order.
    pub unsafe fn new(
        engine: &'a Engine<S>,
        world: &'a W,
        marker: &'a mut Marker,
        slice: usize,
        pause: P,
        crew: &'a Crew,
        cleanups: &'a Cleanups<W::Waiter>,
    ) -> Self {
        let (patience, recruit, white, rescans) = (PATIENCE, &|| (), Pieces::NONE, 0);
        Self {
            engine,
            world,
            marker,
            slice,
            patience,
            pause,
            crew,
            cleanups,
            recruit,
            white,
            rescans,
        }
    }

    /// As before, and the barrier is kept on for so many looks for a guard that is held alone.
    #[must_use]
    pub fn patient(self, patience: u32) -> Self {
        Self { patience, ..self }
    }

    /// As before, and `recruit` is called when there is work for helpers.
    #[must_use]
    pub fn recruiting(self, recruit: &'a dyn Fn()) -> Self {
        Self { recruit, ..self }
    }

    /// Step 0: finishes the former cycle's sweep, and throws its late logs away.
    pub fn prepare(&mut self) {
        self.sweep();
        self.forget_logs();
    }

    fn forget_logs(&self) {
        // SAFETY: we are the one driver, that is the reader of every log.
        self.world.each(&mut |local| unsafe { local.log.drain(|_| ()) });
    }

    /// Step 9, all of it.
    pub fn sweep(&mut self) {
        while !self.engine.space.sweep(16) {
            (self.pause)(Pause::Slice);
        }
    }

    /// Steps 1 to 3. `hybrid`: stores log what they put in, too.
    pub fn start(&mut self, hybrid: bool) {
        let _clears = self.engine.awaited.in_scope();
        if !self.try_start(hybrid, self.patience) {
            self.forget_logs();
            self.try_start(hybrid, u32::MAX);
        }
    }

    /// False if step 1 was taken back.
    fn try_start(&mut self, hybrid: bool, patience: u32) -> bool {
        self.engine.phase.switch_on(hybrid);
        self.finish_operations(); // hand 1
        self.finish_guards(patience) // hand 2
    }

    /// Steps 2, 6 and 8: waits until every operation that is under way is over.
    fn finish_operations(&mut self) {
        self.world.heavy();
        self.world.each(&mut |local: &Local<S>| local.counters.look());
        let mut asked = 0;
        while !self.are_operations_over() {
            (self.pause)(Pause::Operation(asked));
            asked = asked.saturating_add(1);
        }
    }

    /// Step 6: waits until nobody reports the interior of a lock.
    fn finish_reports(&mut self) {
        let mut asked = 0;
        while self.engine.reports.are_pending() {
            (self.pause)(Pause::Operation(asked));
            asked = asked.saturating_add(1);
        }
    }

    fn are_operations_over(&self) -> bool {
        let mut over = true;
        self.world.each(&mut |local: &Local<S>| over &= local.counters.is_over());
        over
    }

    /// Step 3: waits until every guard from before the call is gone. After so many looks for the only
    /// guard that is held, it takes step 1 back; then false.
    fn finish_guards(&mut self, patience: u32) -> bool {
        let handshake = self.engine.epoch.raise(|| self.world.heavy());
        self.engine.awaited.clear();
        let (mut asked, mut on) = (0, true);
        while !self.is_complete(&handshake) {
            if on && asked >= patience && self.is_alone(&handshake) {
                self.engine.phase.switch_off();
                self.engine.awaited.set(&handshake);
                on = false;
            }
            (self.pause)(Pause::Handshake(asked));
            asked = asked.saturating_add(1);
        }
        // Whoever favours those that are waited for stops it.
        (self.pause)(Pause::Slice);
        on
    }

    fn is_complete(&self, handshake: &Handshake) -> bool {
        handshake.is_complete(|each| self.each_counters(each))
    }

    fn is_alone(&self, handshake: &Handshake) -> bool {
        handshake.waits_for_the_only_guard(|each| self.each_counters(each))
    }

    fn each_counters(&self, each: &mut dyn FnMut(&Counters)) {
        self.world.each(&mut |local: &Local<S>| each(&local.counters));
    }

    /// Step 4, and the word of step 5.
    pub fn shade_roots(&mut self) {
        let Self { engine, marker, .. } = self;
        let scan = |marker: &mut Marker| engine.roots.scan(|cell| marker.shade(cell));
        // SAFETY: as in `mark_slice`.
        unsafe { marker.within(engine, scan) };
        self.engine.phase.begin_mark();
    }

    /// Step 5, one slice: marks up to `budget` objects.
    pub fn mark_slice(&mut self, budget: usize) -> bool {
        // SAFETY: the steps are called in order; what is shaded came from roots, logs and edges,
        // all of them objects that no sweep touches before step 8.
        unsafe { self.marker.drain(self.engine, budget) }
    }

    /// Step 5, the work: drains logs and marks until nothing is grey, and nothing is marked that was not looked
    /// into.
    fn mark(&mut self) {
        loop {
            drain_logs(self.engine, self.world, self.marker);
            if !self.marker.is_empty() {
                self.mark_together();
            } else if self.engine.phase.take_overflow() {
                self.mark_again();
            } else {
                break;
            }
        }
    }

    /// Looks into all that is marked once more, and marks what comes from it.
    fn mark_again(&mut self) {
        self.rescans += 1;
        let mut place = 0;
        // SAFETY: as in `mark_slice`.
        while let Some(next) = unsafe { self.marker.look_again(self.engine, place) } {
            self.mark_together();
            (self.pause)(Pause::Slice);
            place = next;
        }
    }

    /// How often all that was marked was looked into once more, for want of memory.
    pub fn rescans(&self) -> u32 {
        self.rescans
    }

    /// Step 5, one round: marks what is grey here, and what logs hold, with whoever helps.
    fn mark_together(&mut self) {
        let &mut Self { engine, world, crew, recruit, slice, .. } = self;
        let worker = Worker::new(engine, world, crew, recruit, slice);
        let more = |marker: &mut Marker| drain_logs(engine, world, marker);
        // SAFETY: as in `mark_slice`.
        unsafe { worker.drive(self.marker, &more, &mut self.pause) };
    }

    /// Steps 5 to 7: marks until the marked set is closed, and ends marking. Returns the new
    /// cycle number and how many rounds it took.
    pub fn mark_to_the_end(&mut self) -> (u64, u32) {
        let mut rounds = 0;
        loop {
            rounds += 1;
            self.engine.phase.clear_dirty();
            self.mark();
            if self.engine.phase.read().dirty() {
                continue;
            }
            self.sift();
            self.finish_operations(); // hand 3
            self.mark();
            self.finish_reports();
            if let Some(cycle) = self.engine.phase.finish() {
                return (cycle, rounds);
            }
        }
    }

    /// Step 6: weak pointers to what is marked by now, and news of it, are done with.
    fn sift(&mut self) {
        let Self { engine, cleanups, white, pause, .. } = self;
        // SAFETY: what weak objects and cleanup queues know is not swept before step 8.
        let is_marked = |cell| unsafe { engine.space.is_marked(cell) };
        // SAFETY: we are the driver, and marking has not ended.
        unsafe { engine.weaks.sift(white, is_marked, || pause(Pause::Slice)) };
        cleanups.sift(&is_marked, &mut || pause(Pause::Slice));
    }

    /// Step 7, the spans; then the news of who has died.
    pub fn open(&mut self, cycle: u64) {
        let Self { engine, world, cleanups, white, pause, .. } = self;
        // SAFETY: we are the driver, and `prepare` swept everything.
        unsafe { engine.space.open(cycle) };
        // SAFETY: weak pointers and cleanup queues know objects that the last cycle left, or newer
        // ones; nobody sweeps before step 8 is over.
        let survives = |cell| unsafe { engine.survives(cell, cycle) };
        // SAFETY: we are the driver, and marking has ended.
        unsafe { engine.weaks.empty(cycle, white, survives, || pause(Pause::Slice)) };
        let wake = |waiter| world.unpark(&waiter);
        cleanups.bury(&survives, &wake, &mut || pause(Pause::Slice));
    }

    /// Step 8; then sweep may begin.
    pub fn end(&mut self) {
        self.finish_operations(); // hand 4
        // SAFETY: we are the driver, and hand 4 is complete.
        unsafe { self.engine.space.permit() };
    }
}

/// Shades some of what each log holds; all, if that is little. What guards have logged while hand 2 waited
/// may be as many cells as the heap has, and all at once on the stack they would take as much memory once
/// more.
fn drain_logs<S: Space, W: World<S>>(engine: &Engine<S>, world: &W, marker: &mut Marker) {
    let drain = |marker: &mut Marker| {
        world.each(&mut |local| {
            // SAFETY: only the driver of a cycle calls it, who is the reader of every log.
            unsafe { local.log.drain_some(CHUNKS, |cell| marker.shade(cell)) };
        });
    };
    // SAFETY: the driver calls it between steps 4 and 7, and what is in logs is newer than step 1, or was alive then.
    unsafe { marker.within(engine, drain) };
}

impl<S: Space, W: World<S>, P> fmt::Debug for Cycle<'_, S, W, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = self.engine.phase.read();
        f.debug_struct("Cycle").field("phase", &phase).finish_non_exhaustive()
    }
}
