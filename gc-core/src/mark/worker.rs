//! A worker: marks slice by slice, shares with the crew, and stays until nothing is grey anywhere.
//!
//! The driver of a cycle is one; helpers are others, who come when they are asked
//! ([`Heap::on_work`](crate::Heap::on_work)) and leave when the round is done. A helper holds no
//! guard: the driver cannot leave the round, and so not reach step 7, while one is busy.

use super::{
    Marker,
    crew::{BATCH, Batch, Buffer, Crew, Next},
};
use crate::{cycle::Pause, engine::Engine, space::Space, world::World};
use core::fmt;

/// A worker in one heap. See the [module](super).
pub struct Worker<'a, S: Space, W: World<S>> {
    engine: &'a Engine<S>,
    world: &'a W,
    crew: &'a Crew,
    recruit: &'a dyn Fn(),
    slice: usize,
}

impl<'a, S: Space, W: World<S>> Worker<'a, S, W> {
    /// A worker that marks `slice` objects between two pauses, and calls `recruit` when it has put
    /// work aside for others. All of the same heap.
    pub fn new(
        engine: &'a Engine<S>,
        world: &'a W,
        crew: &'a Crew,
        recruit: &'a dyn Fn(),
        slice: usize,
    ) -> Self {
        Self { engine, world, crew, recruit, slice }
    }

    /// Marks what is on the driver's stack and all that comes from it, with whoever helps. `more` is asked
    /// for more when the driver's stack is dry, until it knows nothing either.
    ///
    /// # Safety
    ///
    /// The caller drives the cycle, which is between steps 4 and 7; the rest as
    /// [`Marker::drain`].
    pub(crate) unsafe fn drive(
        &self,
        marker: &mut Marker,
        more: &dyn Fn(&mut Marker),
        pause: &mut dyn FnMut(Pause),
    ) {
        self.inside(|| self.crew.open());
        let mut shift = Shift { worker: self, marker, busy: true };
        while !shift.marker.is_empty() {
            // SAFETY: the caller's.
            unsafe { self.until_dry(shift.marker, pause) };
            more(shift.marker);
        }
        let next = shift.refill();
        // SAFETY: the caller's.
        unsafe { self.work(shift, next, pause) };
    }

    /// Helps until the round is done; at once if none is under way.
    ///
    /// # Safety
    ///
    /// The crew, the world and the engine belong together.
    pub unsafe fn help(&self, marker: &mut Marker, pause: &mut dyn FnMut(Pause)) {
        let mut shift = Shift { worker: self, marker, busy: false };
        let next = shift.wait();
        // SAFETY: what the crew shares was shaded by a worker who is of the cycle; the cycle
        // cannot pass the round while this one is busy.
        unsafe { self.work(shift, next, pause) };
    }

    /// Marks at most so many objects of a batch that lies ready, and a few at most once `is_over`. False if
    /// none lies ready.
    ///
    /// # Safety
    ///
    /// The crew, the world and the engine belong together.
    pub unsafe fn assist(&self, objects: usize, is_over: impl Fn() -> bool) -> bool {
        // SAFETY: the caller's.
        unsafe { self.borrow(Marker::default(), objects, is_over) }
    }

    /// Marks a slice of a batch that lies ready, by one who has nothing else to do: the time is counted
    /// as such. False if none does.
    ///
    /// # Safety
    ///
    /// The crew, the world and the engine belong together.
    pub unsafe fn idle(&self) -> bool {
        // SAFETY: the caller's.
        unsafe { self.borrow(Marker::idle(), self.slice, || false) }
    }

    /// Takes a batch that lies ready onto an empty stack, marks at most so many objects of it or until
    /// `is_over`, and puts back the rest.
    ///
    /// # Safety
    ///
    /// The crew, the world and the engine belong together.
    unsafe fn borrow(
        &self,
        mut marker: Marker,
        objects: usize,
        is_over: impl Fn() -> bool,
    ) -> bool {
        let Some(batch) = self.inside(|| self.crew.lend()) else { return false };
        drop(marker.take(batch));
        // SAFETY: as in `help`.
        unsafe { self.drain(&mut marker, objects, is_over) };
        // In two batches if there are few: else there would be one less with each that is used up, and
        // one mutator would wait for another.
        let half = if self.crew.is_short() { self.split(&mut marker, usize::MAX) } else { None };
        drop(self.inside(|| self.crew.put_back(&mut marker, half)));
        true
    }

    /// # Safety
    ///
    /// While the worker is busy, the cycle is between steps 4 and 7, and what is on its stack is as
    /// [`Marker::drain`] asks.
    unsafe fn work(
        &self,
        mut shift: Shift<'_, 'a, S, W>,
        mut next: Next,
        pause: &mut dyn FnMut(Pause),
    ) {
        let mut asked = 0;
        loop {
            match next {
                Next::Done => return,
                Next::Wait => {
                    pause(Pause::Starved(asked));
                    asked = asked.saturating_add(1);
                    next = shift.wait();
                }
                Next::Work(batch) => {
                    asked = 0;
                    self.keep(shift.marker.take(batch));
                    // SAFETY: the caller's.
                    unsafe { self.until_dry(shift.marker, pause) };
                    next = shift.refill();
                }
            }
        }
    }

    /// # Safety
    ///
    /// As [`Marker::drain`].
    unsafe fn until_dry(&self, marker: &mut Marker, pause: &mut dyn FnMut(Pause)) {
        // SAFETY: the caller's.
        while !unsafe { self.drain(marker, self.slice, || false) } {
            self.share(marker);
            pause(Pause::Slice);
        }
    }

    /// One slice.
    ///
    /// # Safety
    ///
    /// As [`Marker::drain`].
    unsafe fn drain(
        &self,
        marker: &mut Marker,
        objects: usize,
        is_over: impl Fn() -> bool,
    ) -> bool {
        let before = marker.counts;
        // SAFETY: the caller's.
        let dry = unsafe { marker.drain_until(self.engine, objects, is_over) };
        self.crew.note(marker.counts.bytes - before.bytes, marker.counts.time - before.time);
        dry
    }

    fn share(&self, marker: &mut Marker) {
        while self.crew.is_short()
            && let Some(batch) = self.split(marker, BATCH)
        {
            if let Some(unneeded) = self.inside(|| self.crew.share(batch)) {
                return self.keep(marker.take(unneeded));
            }
            (self.recruit)();
        }
    }

    /// Half of the stack, at most so many cells.
    fn split(&self, marker: &mut Marker, most: usize) -> Option<Batch> {
        let buffer = self.inside(|| self.crew.buffer());
        marker.split(most, buffer).map_err(|buffer| self.keep(buffer)).ok()
    }

    /// A buffer is left over.
    fn keep(&self, buffer: Buffer) {
        // Freed out here, if it is to be.
        drop(self.inside(|| self.crew.keep(buffer)));
    }

    /// Calls `f`, which takes the crew's lock, where nobody is descheduled.
    fn inside<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: the closures of this file change what is under the crew's lock, and nothing else.
        unsafe { self.world.with(&self.engine.space, |_| f()) }
    }
}

/// A worker at work in a round. If it unwinds, by a pause or a call for helpers of the user's, what is on its
/// stack is for others: the round would wait for it for ever.
struct Shift<'w, 'a, S: Space, W: World<S>> {
    worker: &'w Worker<'a, S, W>,
    marker: &'w mut Marker,
    /// It is counted among the busy.
    busy: bool,
}

impl<S: Space, W: World<S>> Shift<'_, '_, S, W> {
    fn refill(&mut self) -> Next {
        let next = self.worker.inside(|| self.worker.crew.refill(self.marker));
        self.busy = matches!(next, Next::Work(_));
        next
    }

    fn wait(&mut self) -> Next {
        let next = self.worker.inside(|| self.worker.crew.wait());
        self.busy = matches!(next, Next::Work(_));
        next
    }
}

impl<S: Space, W: World<S>> Drop for Shift<'_, '_, S, W> {
    fn drop(&mut self) {
        if self.busy {
            drop(self.worker.inside(|| self.worker.crew.leave(self.marker)));
        }
    }
}

impl<S: Space, W: World<S>> fmt::Debug for Worker<'_, S, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("crew", &self.crew).finish_non_exhaustive()
    }
}
