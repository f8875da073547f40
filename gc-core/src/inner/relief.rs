//! What mutators do for a collector that is behind: pieces of marking, and a moment's wait.
//!
//! | when | who | how much |
//! |---|---|---|
//! | marking is behind its [`Schedule`](crate::pacer::Schedule) | an allocation that took a new span | marks, for a [turn](TURN_OF_MARKING) |
//! | the heap has outrun the collector | an outermost guard, before it is entered | marks for a turn, or waits, for [`RELIEF`] at most |
//! | the world is to stop | the same | waits for the [gate](crate::gate) |
//! | the guard is gone that kept a cycle from beginning | the same | waits for it to begin, for [`RELIEF`] at most |
//!
//! Nothing here decides what is marked.
//!
//! # How long a turn of marking is
//!
//! The marker looks at the time between two pieces and after each few objects of one, so a turn ends no more than
//! 32 objects late. An array comes in portions, each of which counts as an object; a map, or the interior of a
//! lock, is one object however large it is. Then the rest goes back: the crew's lock, and room in a
//! buffer for half of the stack. What the kernel does meanwhile comes on top, page faults of a stack that grows
//! among it.

use super::Core;
use crate::{
    action::{Took, Watch},
    handshake::Counters,
    heap::Tag,
    local::Local,
    mark::Worker,
    pacer::Progress,
    world::World,
};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// Objects that a mutator marks at a time: some 5 µs.
const ASSIST: usize = 256;

/// After how long a mutator that marks stops.
const TURN_OF_MARKING: Duration = Duration::from_micros(25);

/// A lag that is worth a mutator's while, in bytes.
const LAG: u64 = 16 << 10;

/// How long it may wait if there is nothing to mark and nobody else who is ready.
const RELIEF: Duration = Duration::from_millis(10);

/// Between two looks at a gate that is not open.
const TURN: Duration = Duration::from_micros(100);

/// Begins a turn, and tells whether it is over.
fn turn_of_marking() -> impl Fn() -> bool {
    let begun = Instant::now();
    move || begun.elapsed() >= TURN_OF_MARKING
}

pub(super) type HeapWorker<'a, H> = Worker<'a, <H as Tag>::Space, <H as Tag>::World>;

impl<H: Tag> Core<H> {
    /// After an allocation that took the space's slow path: counts, and looks at the pacer.
    #[cold]
    pub(crate) fn after_slow_path(&self, took: Took) {
        let fresh = self.with(|local| {
            local.delayed(took);
            local.take_uncounted()
        });
        if self.pace.allocated(fresh) {
            self.request();
        }
        if self.lag() >= LAG && self.crew.is_ready() {
            self.pay();
        }
    }

    /// By how many bytes marking is behind the line on which allocation pays for it.
    fn lag(&self) -> u64 {
        self.progress().lag()
    }

    pub(crate) fn progress(&self) -> Progress {
        self.pace.progress(self.crew.marked())
    }

    /// Marks for as long as marking is behind and there is something to be had, and not for long. Under
    /// a guard: none of this cycle's handshakes waits for it any more.
    #[cold]
    fn pay(&self) {
        let watch = Watch::start(&self.world);
        let is_over = turn_of_marking();
        while self.assist(&is_over) && !is_over() && self.lag() >= LAG {}
        let took = watch.stop(&self.world);
        self.with(|local| local.diary().assists.note(took));
    }

    /// Before an outermost guard: helps if the heap has outrun a collector that is at work. A bounded
    /// piece of work and at most a moment's wait, because whoever holds a guard may wait for a lock that
    /// the caller holds. A goroutine waits only if nobody else is ready: it would stand behind them.
    #[inline]
    pub(crate) fn relieve(&self) {
        if self.pace.is_outrun() || !self.gate.is_open() || !self.engine.awaited.is_none() {
            self.relieve_slow();
        }
    }

    #[cold]
    fn relieve_slow(&self) {
        let behind = self.pace.is_outrun() && self.pace.is_collecting();
        let due = behind || !self.gate.is_open() || self.is_about_to_begin();
        // Whoever finds no memory for a part in the heap is not held up: no guard follows.
        if !due || self.is_inside_guard() || self.join().is_err() {
            return;
        }
        let watch = Watch::start(&self.world);
        while self.gate.holds_up(watch.wall()) {
            self.world.nap(TURN);
        }
        while self.is_about_to_begin() && watch.wall() < RELIEF {
            self.world.nap(TURN);
        }
        while self.pace.is_outrun()
            && self.pace.is_collecting()
            && !self.assist(turn_of_marking())
            && self.world.outrun()
            && watch.wall() < RELIEF
        {}
        let took = watch.stop(&self.world);
        // Who has come to where it has no part in the heap is not counted.
        self.try_with(|local, _| local.diary().reliefs.note(took));
    }

    /// Whether a cycle begins again as soon as its driver has looked.
    fn is_about_to_begin(&self) -> bool {
        let each = |each: &mut dyn FnMut(&Counters)| {
            self.world.each(&mut |local: &Local<H::Space>| each(&local.counters));
        };
        self.engine.awaited.is_over(each)
    }

    /// Marks a few objects, or until `is_over`; false if there are none to be had.
    fn assist(&self, is_over: impl Fn() -> bool) -> bool {
        // SAFETY: all are this heap's.
        let helped = self.borrow(|worker| unsafe { worker.assist(ASSIST, is_over) });
        // Relaxed: a statistic.
        self.assists.fetch_add(helped.into(), Ordering::Relaxed);
        helped
    }

    /// Calls `f` with a worker who takes a batch and puts it back.
    pub(super) fn borrow(&self, f: impl FnOnce(&HeapWorker<'_, H>) -> bool) -> bool {
        // A guard, so that the world knows of one whom the driver may wait for.
        let Ok(pin) = self.try_pin() else { return false };
        let worker = Worker::new(&self.engine, &self.world, &self.crew, &|| (), self.slice);
        let helped = f(&worker);
        // SAFETY: counted above, left once.
        unsafe { self.unpin(pin) };
        helped
    }
}
