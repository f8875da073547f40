//! [`Weak`]: a pointer that does not keep its object, and says when it is gone.
//!
//! # Problem
//!
//! A weak pointer becomes a strong one (*upgrade*) only if its object is not dead, and "dead" is
//! decided by a marker that runs beside. Between the marker's last look and the sweep, which may be
//! much later, all who ask must get the same answer; and after the sweep the cell is somebody else's.
//!
//! # Shape
//!
//! A `Weak` is an object of its own in the heap: a slot that the marker does not follow, filled when it
//! is made, emptied when its object dies. So a weak pointer is an ordinary [`Gc`] to an ordinary
//! object: it is copied, stored and rooted like any other, and needs no second barrier. The slot never
//! moves, so the driver can empty it. (A weak field inside another object could be moved out of a
//! lock's interior after the marker has passed, and would then be missed.)
//!
//! # Upgrade
//!
//! By one reading of the phase word, in one operation, under a guard:
//!
//! | the word says | and | then |
//! |---|---|---|
//! | *off* | slots have been emptied for this cycle | what the slot holds is alive |
//! | *off* | not yet (steps 7 to 8) | alive if marked, or newer; nobody sweeps before hand 4, which waits for the operation |
//! | *on* | | alive, and logged like a new object |
//! | *mark* | it is marked | alive |
//! | *mark* | it is white | set `dirty` by a read-modify-write. If the word still said *mark*: logged, alive. Else marking was over before: dead |
//!
//! The last line is the crux. [`PhaseWord::finish`](crate::phase::PhaseWord::finish) is a
//! compare-and-swap from *mark, clean*; the two changes of one word have an order. If `dirty` came
//! first the driver goes back to step 5, and hand 3 brings it our log before it asks again. If the end
//! came first, the object was white when marking ended, and whoever asks later finds the same. To read
//! *mark* and then shade is not enough: marking may end in between, and the next who asks finds the
//! object dead while we hold it. The state search and a model find that
//! (`Fault::UpgradeByReading`, `loom-tests/tests/gc_weak.rs`).
//!
//! An upgrade makes an unreachable object reachable after the snapshot. So it obeys the rule for new
//! objects: the marker looks into it, and everything behind it is marked, or was cut by whoever logs.
//!
//! # Who is met
//!
//! Nobody keeps a list of weak objects. The marker looks into each one that it marks, as into any object,
//! and notes those that are not empty yet: so workers find them side by side, and those that died are not
//! found. Not looked into are objects that are black from birth, and they need not be: their target was in
//! a hand while the word said *mark*, and what anybody holds then is marked when marking ends.
//!
//! # Emptying
//!
//! In two parts, each in pieces with a pause between them, as marking is:
//!
//! - *Sifting*, in a round of step 5 that has marked nothing, before hand 3: whoever's target is marked by
//!   now is dropped from the list, for a mark stays until sweep. A round that ends marking has marked
//!   nothing, and so met nobody: the list is whole.
//! - *Emptying*, in step 7, after the spans are open: of those that are left, the slot of each whose target
//!   is white and old is emptied. Then the driver notes the cycle, and passes hand 4.
//!
//! So the time from step 7 to hand 4, in which allocators must take fresh spans, grows with the number of
//! weak pointers whose targets died, not with the number of weak pointers.

use crate::{
    Plain,
    boxed::try_box,
    engine::{Engine, Link, Refused, Slot},
    error::AllocError,
    guard::Guard,
    handle::Gc,
    heap::Tag,
    local::Operation,
    phase::Phase,
    space::Space,
    sync::{AtomicPtr, AtomicU64, Ordering},
    trace::{Rebind, Trace, Tracer},
};
use core::{
    fmt,
    marker::PhantomData,
    ptr::{self, NonNull},
};

/// An object in the heap that points to another and does not keep it. Made by
/// [`Guard::downgrade`].
///
/// ```
/// use gc_core::{Heap, Plain, Root, Weak};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let (strong, weak): (_, Root<Weak<'static, u64>>) = {
///     let guard = heap.enter();
///     let object = guard.alloc(7u64);
///     (guard.root(object), guard.root(guard.downgrade(object)))
/// };
/// heap.collect().unwrap();
/// {
///     let guard = heap.enter();
///     assert_eq!(weak.get(&guard).upgrade(&guard).as_deref(), Some(&7));
/// }
/// drop(strong);
/// heap.collect().unwrap();
/// let guard = heap.enter();
/// assert!(weak.get(&guard).upgrade(&guard).is_none());
/// ```
#[repr(transparent)]
pub struct Weak<'g, T, H = Plain> {
    /// Filled when made; emptied by the driver. Not an edge.
    target: Slot,
    marker: PhantomData<Invariant<Gc<'g, T, H>>>,
}

type Invariant<T> = (T, fn(T) -> T);

/// What a weak pointer is, wherever it lies.
type GcWeak<'g, T, H> = Gc<'g, Weak<'g, T, H>, H>;

impl<'g, T, H: Tag> Weak<'g, T, H> {
    /// The object, unless it is dead. Once this was `None` it stays so.
    ///
    /// The lifetime is the caller's guard's: what is returned is kept like anything else.
    ///
    /// ```
    /// use gc_core::{GcCell, Heap, Plain, Weak};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let cached = {
    ///     let guard = heap.enter();
    ///     let weak = guard.downgrade(guard.alloc(7u64));
    ///     guard.root(guard.alloc(GcCell::new(Some(weak))))
    /// };
    /// let look = || {
    ///     let guard = heap.enter();
    ///     let weak = cached.get(&guard).load().expect("the weak object is an object like any other");
    ///     weak.get().upgrade(&guard).map(|found| *found)
    /// };
    /// assert_eq!(look(), Some(7));
    /// heap.collect().unwrap();
    /// assert_eq!(look(), None);
    /// ```
    pub fn upgrade(&self, guard: &'g Guard<'_, H>) -> Option<Gc<'g, T, H>> {
        // SAFETY: the slot was filled with a `T` of this heap; the guard is held, and keeps what an
        // upgrade returns.
        guard.upgrade(&self.target).map(|cell| unsafe { Gc::from_cell(cell) })
    }
}

impl<H: Tag> Guard<'_, H> {
    /// Makes a weak pointer to an object. Takes a cell of 16 bytes.
    ///
    /// # Panics
    ///
    /// If the space is exhausted; [`try_downgrade`](Self::try_downgrade) returns that as a value.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let object = guard.alloc(7u64);
    /// let weak = guard.downgrade(object);
    /// assert!(weak.upgrade(&guard) == Some(object), "our hands keep it");
    /// ```
    pub fn downgrade<'g, T>(&'g self, object: Gc<'g, T, H>) -> GcWeak<'g, T, H>
    where
        T: Send + Sync + Rebind<At<'g> = T>,
    {
        self.try_downgrade(object).unwrap_or_else(|refused| refused.panic())
    }

    /// Makes a weak pointer to an object.
    ///
    /// # Errors
    ///
    /// [`AllocError`] with the object, if the space is exhausted.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let object = guard.alloc(String::from("kept"));
    /// heap.space().set_limit(0);
    /// let refused = (0..1 << 20).find_map(|_| guard.try_downgrade(object).err()).unwrap();
    /// assert_eq!(*refused.into_inner(), "kept");
    /// ```
    pub fn try_downgrade<'g, T>(
        &'g self,
        object: Gc<'g, T, H>,
    ) -> Result<GcWeak<'g, T, H>, AllocError<Gc<'g, T, H>>>
    where
        T: Send + Sync + Rebind<At<'g> = T>,
    {
        let target = Slot::new(Some(object.cell()));
        let weak = self.try_alloc(Weak { target, marker: PhantomData });
        weak.map_err(|_| AllocError::new(object))
    }
}

impl<T, H> fmt::Debug for Weak<'_, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(Weak)")
    }
}

// SAFETY: the slot is no edge: whoever follows it asks `Engine::upgrade` first.
unsafe impl<T: Send + Sync, H: Tag> Trace<H> for Weak<'_, T, H> {
    fn trace(&self, tracer: &mut Tracer) {
        if self.target.load().is_some() {
            tracer.weak(NonNull::from(&self.target));
        }
    }
}

// SAFETY: the lifetime is replaced here and, by its own `Rebind`, in the object. There is no edge, but
// the marker is to look: it meets weak objects in no other way.
unsafe impl<T: Rebind, H: Tag> Rebind for Weak<'_, T, H> {
    type At<'a> = Weak<'a, T::At<'a>, H>;
}

/// The weak objects that a cycle has met.
#[doc(hidden)]
#[derive(Debug)]
pub struct Weaks {
    /// Those that are not sifted yet, in the pieces in which workers met them. Pieces are put before the
    /// others by whoever marks, and taken off all at once, by the driver.
    met: AtomicPtr<Met>,
    /// The cycle for which all slots have been emptied. Written by the driver.
    emptied: AtomicU64,
}

/// Slots that a worker met in one slice of marking.
#[derive(Debug)]
struct Met {
    slots: Vec<NonNull<Slot>>,
    next: *mut Met,
}

/// Pieces that somebody has for himself, linked as they are.
#[derive(Debug)]
pub(crate) struct Pieces(*mut Met);

impl Pieces {
    pub(crate) const NONE: Self = Self(ptr::null_mut());

    fn pop(&mut self) -> Option<Box<Met>> {
        let piece = NonNull::new(self.0)?;
        // SAFETY: `meet` or `push` made it of a box, and it is ours.
        let piece = unsafe { Box::from_raw(piece.as_ptr()) };
        self.0 = piece.next;
        Some(piece)
    }

    fn push(&mut self, mut piece: Box<Met>) {
        piece.next = self.0;
        self.0 = Box::into_raw(piece);
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

impl Default for Weaks {
    fn default() -> Self {
        Self { met: AtomicPtr::new(ptr::null_mut()), emptied: AtomicU64::new(1) }
    }
}

impl Weaks {
    /// A slice of marking met these.
    ///
    /// # Errors
    ///
    /// The slots, if there is no memory for the news.
    pub(crate) fn meet(&self, slots: Vec<NonNull<Slot>>) -> Result<(), Vec<NonNull<Slot>>> {
        // Relaxed: a first guess; what it leads to is not read here.
        let mut next = self.met.load(Ordering::Relaxed);
        let piece = try_box(Met { slots, next }).map_err(|Met { slots, .. }| slots)?;
        let piece = Box::into_raw(piece);
        // Release: publishes the piece, and those before it by the chain of exchanges; pairs with
        // `take_met`. Relaxed: as above. Nothing is taken off one by one, so an address that comes again
        // is no danger.
        while let Err(found) =
            self.met.compare_exchange_weak(next, piece, Ordering::Release, Ordering::Relaxed)
        {
            next = found;
            // SAFETY: the piece is nobody else's before the exchange.
            unsafe { (*piece).next = next };
        }
        Ok(())
    }

    /// Takes all that workers have met.
    fn take_met(&self) -> Pieces {
        // Acquire: brings the pieces; pairs with `meet`.
        Pieces(self.met.swap(ptr::null_mut(), Ordering::Acquire))
    }

    /// Before hand 3: leaves in `white` the slots whose targets are not marked yet, of those that were met
    /// since the last call. `pause` is called after each piece.
    ///
    /// # Safety
    ///
    /// The caller drives a cycle, between steps 4 and 7. `is_marked` may be asked of any allocated cell.
    pub(crate) unsafe fn sift(
        &self,
        white: &mut Pieces,
        is_marked: impl Fn(NonNull<u8>) -> bool,
        mut pause: impl FnMut(),
    ) {
        let mut met = self.take_met();
        while let Some(mut piece) = met.pop() {
            // SAFETY: slots of objects that were marked in this cycle.
            let target = |slot: &NonNull<Slot>| unsafe { slot.as_ref() }.load();
            piece.slots.retain(|slot| !target(slot).is_some_and(&is_marked));
            if !piece.slots.is_empty() {
                white.push(piece);
            }
            pause();
        }
    }

    /// Step 7: empties those of the slots whose targets are dead. `survives` says what this cycle does not
    /// free. `pause` is called after each piece.
    ///
    /// # Safety
    ///
    /// The caller drives a cycle, between its steps 7 and 8, and the slots are what sifting left.
    pub(crate) unsafe fn empty(
        &self,
        cycle: u64,
        white: &mut Pieces,
        survives: impl Fn(NonNull<u8>) -> bool,
        mut pause: impl FnMut(),
    ) {
        while let Some(piece) = white.pop() {
            for slots in piece.slots.chunks(PIECE) {
                for slot in slots {
                    // SAFETY: the slot is of an object that was marked in the cycle that ended.
                    let slot = unsafe { slot.as_ref() };
                    if !slot.load().is_some_and(&survives) {
                        slot.empty();
                    }
                }
                pause();
            }
        }
        // Release: whoever sees the cycle sees the slots empty; pairs with `Engine::upgrade`.
        self.emptied.store(cycle, Ordering::Release);
    }
}

impl Drop for Weaks {
    fn drop(&mut self) {
        // A cycle that unwound leaves some.
        drop(self.take_met());
    }
}

/// Slots that are emptied between two pauses.
const PIECE: usize = 1024;

/// The target of a weak object.
struct Found {
    cell: NonNull<u8>,
    /// Whether the collector keeps it without being told.
    kept: bool,
}

impl<S: Space> Engine<S> {
    /// The target of a weak object, unless it is dead. See the [module](self).
    ///
    /// # Errors
    ///
    /// [`Refused::LogFull`]
    ///
    /// # Safety
    ///
    /// The caller holds a guard, and the operation is of a local state of the same world; the slot is
    /// that of a weak object.
    pub unsafe fn upgrade(
        &self,
        operation: &Operation<'_, S>,
        slot: &Slot,
    ) -> Result<Link, Refused> {
        if !operation.log.has_room() {
            return Err(Refused::LogFull);
        }
        // SAFETY: the caller's.
        let found = unsafe { self.look(slot) };
        if let Some(Found { cell, kept: false }) = found {
            // SAFETY: the caller is the occupant, and there is room.
            unsafe { operation.log.push(cell) };
        }
        Ok(found.map(|found| found.cell))
    }

    /// As [`upgrade`](Self::upgrade), without the log.
    ///
    /// # Safety
    ///
    /// As [`upgrade`](Self::upgrade).
    pub unsafe fn upgrade_unlogged(&self, operation: &Operation<'_, S>, slot: &Slot) -> Link {
        // SAFETY: the caller's.
        let found = unsafe { self.look(slot) };
        if let Some(Found { cell, kept: false }) = found {
            // SAFETY: what is found is not swept, and the caller's guard keeps it from now on.
            unsafe { self.mark_unlogged(operation, cell) };
        }
        found.map(|found| found.cell)
    }

    /// What a weak object leads to, unless it is dead.
    ///
    /// # Safety
    ///
    /// As [`upgrade`](Self::upgrade), in the operation.
    unsafe fn look(&self, slot: &Slot) -> Option<Found> {
        let reading = self.phase.read();
        // Acquire: if the slots were emptied for this cycle, ours is read after that; pairs with
        // `empty`.
        let emptied = self.weaks.emptied.load(Ordering::Acquire) == reading.cycle();
        let cell = slot.load()?;
        let kept = match reading.phase() {
            Phase::Off if emptied => true,
            // SAFETY: what a slot holds is not swept before it is emptied; and hand 4, which is yet to
            // come, waits for this operation.
            Phase::Off if unsafe { self.survives(cell, reading.cycle()) } => true,
            Phase::Off => return None,
            Phase::On => false,
            // SAFETY: as above.
            Phase::Mark if unsafe { self.space.is_marked(cell) } => true,
            Phase::Mark if self.phase.set_dirty().phase() == Phase::Mark => false,
            Phase::Mark => return None,
        };
        Some(Found { cell, kept })
    }

    /// Between the phase word's change to `cycle` and hand 4: whether the cycle that ended leaves the
    /// cell alone.
    ///
    /// # Safety
    ///
    /// The cell is allocated, and is not swept during the call.
    pub(crate) unsafe fn survives(&self, cell: NonNull<u8>, cycle: u64) -> bool {
        // SAFETY: the caller's.
        unsafe { self.space.is_marked(cell) || self.space.is_of_cycle(cell, cycle) }
    }
}
