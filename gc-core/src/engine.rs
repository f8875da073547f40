//! What mutators do while a collector may run beside them: the barrier, and the colour of a new
//! object.
//!
//! # Problem
//!
//! The marker walks a graph that others change under it. It must mark everything that was
//! reachable when marking began (the *snapshot*) and everything that came later; then no pointer
//! that anyone can still hold leads to a cell that sweep frees.
//!
//! # Rules
//!
//! - **Deletion**: whoever takes a pointer out of a slot while the barrier is on, logs it. So an
//!   object of the snapshot whose last path is cut gets marked all the same (T. Yuasa,
//!   "Real-time garbage collection on general-purpose machines", 1990). Stores need nothing else:
//!   what a guard can store, it reached from the snapshot, or it allocated.
//! - **Allocation** is *grey* from step 1 to step 5 (white, and logged: the marker will look into
//!   it) and *black* from step 5 on (marked, never looked into). Black from the start is wrong:
//!   before the handshakes are over, a mutator without barrier may put the only pointer to a
//!   white object into the black one. Under a guard that hand 2 waits for, a new object stays
//!   white: when the roots are looked at, nobody holds it any more, so either the snapshot
//!   has it, or it was taken out of a slot and logged, or it is garbage. A mutator that builds
//!   much under one guard would else keep all of it for a cycle.
//! - **One reading.** Cell and colour come from the same [`Reading`].
//! - **The colour is set after the value is written**, so whoever finds the object through the log
//!   finds it whole.
//! - The phase is read *before* the slot changes, and the log is written in the same
//!   [`Operation`], for whose end hands 1, 3 and 4 wait.
//!
//! # Rejected
//!
//! Go's hybrid barrier logs old and new value of each store: twice the log, and locks, once-cells
//! and initialising stores would need it too. It buys black stacks without a rescan; there are no
//! stacks to scan here.
//!
//! The functions take the operation by hand, so that a model can pass its own; everyone else
//! gets here through [`Guard`](crate::Guard).

mod slot;
mod unlogged;

#[doc(hidden)]
pub use self::slot::{Link, Slot};

use crate::{
    handshake::{Awaited, Epoch, Pin},
    local::{Local, Operation},
    lock::report::Reports,
    phase::{Phase, PhaseWord, Reading},
    roots::Roots,
    space::{Exhausted, Kind, Space, Taken},
    weak::Weaks,
};
use core::ptr::NonNull;

/// Why a mutator's operation did not happen; it may be tried again after the remedy.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The local log is full: extend it, outside [`World::with`](crate::world::World::with).
    LogFull,
    /// The space has no cell.
    Exhausted,
}

impl From<Exhausted> for Refused {
    fn from(_: Exhausted) -> Self {
        Refused::Exhausted
    }
}

/// The state that mutators and collector share. See the [module](self).
#[doc(hidden)]
#[derive(Debug)]
pub struct Engine<S> {
    /// Which epoch new guards belong to.
    pub epoch: Epoch,
    /// Guards after which a cycle begins again.
    pub awaited: Awaited,
    /// Where the cycle stands.
    pub phase: PhaseWord,
    /// Pointers into the heap from outside.
    pub roots: Roots,
    /// Weak pointers.
    pub weaks: Weaks,
    /// Interiors of locks that are being reported.
    pub reports: Reports,
    /// Where objects lie.
    pub space: S,
}

impl<S: Space> Engine<S> {
    /// An engine with nothing in it.
    pub fn new(space: S) -> Self {
        Self {
            epoch: Epoch::default(),
            awaited: Awaited::default(),
            phase: PhaseWord::default(),
            roots: Roots::default(),
            weaks: Weaks::default(),
            reports: Reports::default(),
            space,
        }
    }

    /// Exchanges a slot's value, with the barrier.
    ///
    /// # Errors
    ///
    /// [`Refused::LogFull`]; the slot is unchanged.
    ///
    /// # Safety
    ///
    /// The caller holds a guard, and the operation is of a local state of the same world. `new` is an
    /// object that a guard keeps alive during the call.
    #[inline]
    pub unsafe fn swap(
        &self,
        operation: &Operation<'_, S>,
        slot: &Slot,
        new: Link,
    ) -> Result<Link, Refused> {
        let reading = self.read_to_store(operation)?;
        let old = slot.swap(new);
        // SAFETY: the caller's; its guard keeps `old` alive.
        unsafe { self.log_deleted(operation, reading, old) };
        Ok(old)
    }

    /// As [`swap`](Self::swap) while no cycle runs; else nothing, and `None`.
    ///
    /// # Safety
    ///
    /// As [`swap`](Self::swap).
    #[inline(always)]
    pub unsafe fn swap_off(&self, _: &Operation<'_, S>, slot: &Slot, new: Link) -> Option<Link> {
        (!self.phase.read().barrier()).then(|| slot.swap(new))
    }

    /// As [`swap`](Self::swap), for those who do not want the old value: a plain store while no cycle
    /// runs.
    ///
    /// # Errors
    ///
    /// As [`swap`](Self::swap).
    ///
    /// # Safety
    ///
    /// As [`swap`](Self::swap).
    #[inline(always)]
    pub unsafe fn store(
        &self,
        operation: &Operation<'_, S>,
        slot: &Slot,
        new: Link,
    ) -> Result<(), Refused> {
        // SAFETY: the caller's.
        match unsafe { self.store_off(operation, slot, new) } {
            Some(()) => Ok(()),
            // SAFETY: the caller's. It reads the phase again, in the same operation.
            None => unsafe { self.swap(operation, slot, new) }.map(drop),
        }
    }

    /// As [`store`](Self::store) while no cycle runs; else nothing, and `None`.
    ///
    /// # Safety
    ///
    /// As [`swap`](Self::swap).
    #[inline(always)]
    pub unsafe fn store_off(&self, _: &Operation<'_, S>, slot: &Slot, new: Link) -> Option<()> {
        (!self.phase.read().barrier()).then(|| slot.fill(new))
    }

    /// Replaces `current` by `new`, with the barrier. `Ok(Err(found))` if the slot held another
    /// value.
    ///
    /// # Errors
    ///
    /// [`Refused::LogFull`]; the slot is unchanged.
    ///
    /// # Safety
    ///
    /// As [`swap`](Self::swap).
    #[inline]
    pub unsafe fn compare_exchange(
        &self,
        operation: &Operation<'_, S>,
        slot: &Slot,
        current: Link,
        new: Link,
    ) -> Result<Result<Link, Link>, Refused> {
        let reading = self.read_to_store(operation)?;
        let outcome = slot.compare_exchange(current, new);
        if let Ok(old) = outcome {
            // SAFETY: the caller's; its guard keeps `old` alive.
            unsafe { self.log_deleted(operation, reading, old) };
        }
        Ok(outcome)
    }

    /// As [`compare_exchange`](Self::compare_exchange) while no cycle runs; else nothing, and `None`.
    ///
    /// # Safety
    ///
    /// As [`swap`](Self::swap).
    #[inline(always)]
    pub unsafe fn compare_exchange_off(
        &self,
        _: &Operation<'_, S>,
        slot: &Slot,
        current: Link,
        new: Link,
    ) -> Option<Result<Link, Link>> {
        (!self.phase.read().barrier()).then(|| slot.compare_exchange(current, new))
    }

    /// Reads the phase before a store, and sees to it that there is room for what it takes out.
    #[inline(always)]
    fn read_to_store(&self, local: &Local<S>) -> Result<Reading, Refused> {
        let reading = self.phase.read();
        if reading.barrier() && !local.log.has_room() {
            return Err(Refused::LogFull);
        }
        Ok(reading)
    }

    /// Logs what was taken out of a slot, if the barrier is on and it is not marked already.
    ///
    /// # Safety
    ///
    /// As [`swap`](Self::swap); the reading is of [`read_to_store`](Self::read_to_store), in the same
    /// operation.
    #[inline(always)]
    unsafe fn log_deleted(&self, operation: &Operation<'_, S>, reading: Reading, old: Link) {
        let (true, Some(old)) = (reading.barrier(), old) else { return };
        // SAFETY: the caller's guard keeps `old` allocated. A mark that is seen is of this
        // cycle: the reading that said *on* came after the former cycle's marks were cleared.
        if !unsafe { self.space.is_marked(old) } {
            // SAFETY: the caller is the occupant and there is room.
            unsafe { operation.log.push(old) };
        }
    }

    /// Logs an edge of an interior that the caller reports.
    ///
    /// # Errors
    ///
    /// [`Refused::LogFull`]; nothing was logged.
    ///
    /// # Safety
    ///
    /// The operation is of a local state of the same world; the caller's guard keeps `cell` alive.
    pub unsafe fn log(
        &self,
        operation: &Operation<'_, S>,
        cell: NonNull<u8>,
    ) -> Result<(), Refused> {
        let reading = self.read_to_store(operation)?;
        // SAFETY: the caller's.
        unsafe { self.log_deleted(operation, reading, Some(cell)) };
        Ok(())
    }

    /// Takes a cell, lets `write` fill it, and gives it its colour.
    ///
    /// # Errors
    ///
    /// `write` has not been called; the cause says what to do.
    ///
    /// # Safety
    ///
    /// The operation is of a local state of the same world, and `pin` of a guard that the caller
    /// holds. `write` fills the cell with an object of this kind and size.
    pub unsafe fn allocate(
        &self,
        operation: &Operation<'_, S>,
        pin: Pin,
        kind: &'static Kind,
        bytes: usize,
        write: impl FnOnce(NonNull<u8>),
    ) -> Result<Taken, Refused> {
        let reading = self.read_to_store(operation)?;
        let cycle = reading.cycle();
        // SAFETY: the caller is the occupant, and in one operation with the reading.
        let taken = unsafe { operation.cache(|cache| self.space.take(cache, kind, bytes, cycle)) }?;
        // SAFETY: the cell was just taken, and the rest is the caller's.
        unsafe { self.bear(operation, pin, reading, taken, write) };
        Ok(taken)
    }

    /// As [`allocate`](Self::allocate), if the cache has a cell at hand and the log has room; else nothing,
    /// and `None`.
    ///
    /// # Safety
    ///
    /// As [`allocate`](Self::allocate).
    #[inline(always)]
    pub unsafe fn allocate_cached(
        &self,
        operation: &Operation<'_, S>,
        pin: Pin,
        kind: &'static Kind,
        bytes: usize,
        write: impl FnOnce(NonNull<u8>),
    ) -> Option<NonNull<u8>> {
        let reading = self.read_to_store(operation).ok()?;
        let cycle = reading.cycle();
        // SAFETY: as in `allocate`.
        let taken =
            unsafe { operation.cache(|cache| self.space.take_cached(cache, kind, bytes, cycle)) }?;
        // SAFETY: as in `allocate`.
        unsafe { self.bear(operation, pin, reading, taken, write) };
        Some(taken.cell)
    }

    /// Makes an object of a cell that was taken: its value, its colour, its place in the account.
    ///
    /// # Safety
    ///
    /// As [`allocate`](Self::allocate), in the operation of the reading by which the cell was taken.
    #[inline(always)]
    unsafe fn bear(
        &self,
        operation: &Operation<'_, S>,
        pin: Pin,
        reading: Reading,
        taken: Taken,
        write: impl FnOnce(NonNull<u8>),
    ) {
        write(taken.cell);
        if reading.barrier() {
            // SAFETY: the cell was just taken and written, and the rest is the caller's.
            unsafe { self.colour(operation, pin, reading, taken.cell) };
        }
        operation.count(taken.bytes);
    }

    /// Gives a new object the colour that its reading asks for.
    ///
    /// # Safety
    ///
    /// As [`allocate`](Self::allocate), and `cell` holds the new object.
    #[cold]
    #[inline(never)]
    unsafe fn colour(
        &self,
        operation: &Operation<'_, S>,
        pin: Pin,
        reading: Reading,
        cell: NonNull<u8>,
    ) {
        match reading.phase() {
            Phase::Off => {}
            // Hand 2 waits for the guard.
            Phase::On if self.epoch.has_passed(pin) => {}
            // SAFETY: the caller is the occupant; `read_to_store` saw to the room.
            Phase::On => unsafe { operation.log.push(cell) },
            Phase::Mark => {
                // SAFETY: the cell was just taken.
                let _ = unsafe { self.space.mark(cell) };
            }
        }
    }

    /// Empties a root's slot, with the barrier, under a guard of its own.
    ///
    /// # Errors
    ///
    /// [`Refused::LogFull`]; the slot is unchanged.
    ///
    /// # Safety
    ///
    /// The operation is of a local state of the same world; the caller owns the root.
    pub unsafe fn clear_root(
        &self,
        operation: &Operation<'_, S>,
        slot: &Slot,
        light: impl Fn(),
    ) -> Result<(), Refused> {
        let pin = self.epoch.enter(&operation.counters, light);
        // SAFETY: the caller's, and the guard just entered.
        let outcome = unsafe { self.swap(operation, slot, None) };
        // SAFETY: entered above, left once.
        unsafe { self.epoch.leave(&operation.counters, pin) };
        outcome.map(drop)
    }

    /// Counts a guard on this local state.
    ///
    /// # Safety
    ///
    /// The caller occupies the local state, which is of the world that is used with the engine.
    #[inline]
    pub unsafe fn enter(&self, local: &Local<S>, light: impl Fn()) -> Pin {
        self.epoch.enter(&local.counters, light)
    }

    /// Counts the end of a guard.
    ///
    /// # Safety
    ///
    /// As [`enter`](Self::enter); `pin` came from that, of this engine, on whichever local state, and is left
    /// once.
    #[inline]
    pub unsafe fn leave(&self, local: &Local<S>, pin: Pin) {
        // SAFETY: the caller's.
        unsafe { self.epoch.leave(&local.counters, pin) };
    }
}
