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
//! # Emptying
//!
//! Step 7, after the spans are open: the driver goes through all weak objects, forgets the dead ones,
//! and empties the slot of those whose target is white and old. It notes the cycle, and passes hand 4.

use crate::{
    Plain,
    engine::{Engine, Link, Refused, Slot},
    error::AllocError,
    guard::Guard,
    handle::Gc,
    heap::Tag,
    local::Operation,
    phase::Phase,
    space::Space,
    sync::{AtomicU64, Mutex, Ordering},
    trace::{Rebind, Trace, Tracer},
};
use core::{fmt, marker::PhantomData, ptr::NonNull};

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
    pub fn upgrade(&self, guard: &'g Guard<'_, H>) -> Option<Gc<'g, T, H>> {
        // SAFETY: the slot was filled with a `T` of this heap; the guard is held, and keeps what an
        // upgrade returns.
        guard.upgrade(&self.target).map(|cell| unsafe { Gc::from_cell(cell) })
    }
}

impl<H: Tag> Guard<'_, H> {
    /// Makes a weak pointer to an object. Takes a cell of 16 bytes, and a lock for a moment.
    ///
    /// # Panics
    ///
    /// If the space is exhausted; [`try_downgrade`](Self::try_downgrade) returns that as a value.
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
    pub fn try_downgrade<'g, T>(
        &'g self,
        object: Gc<'g, T, H>,
    ) -> Result<GcWeak<'g, T, H>, AllocError<Gc<'g, T, H>>>
    where
        T: Send + Sync + Rebind<At<'g> = T>,
    {
        let target = Slot::new(Some(object.cell()));
        match self.try_alloc(Weak { target, marker: PhantomData }) {
            Ok(weak) => {
                self.core().engine.weaks.add(weak.cell());
                Ok(weak)
            }
            Err(_) => Err(AllocError::new(object)),
        }
    }
}

impl<T, H> fmt::Debug for Weak<'_, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(Weak)")
    }
}

// SAFETY: the slot is no edge: whoever follows it asks `Engine::upgrade` first.
unsafe impl<T: Send + Sync, H: Tag> Trace<H> for Weak<'_, T, H> {
    #[inline(always)]
    fn trace(&self, _: &mut Tracer) {}
}

// SAFETY: the lifetime is replaced here and, by its own `Rebind`, in the object; nothing is traced.
unsafe impl<T: Rebind, H: Tag> Rebind for Weak<'_, T, H> {
    type At<'a> = Weak<'a, T::At<'a>, H>;
    const EDGES: bool = false;
}

/// The weak objects of a heap.
#[derive(Debug)]
pub struct Weaks {
    /// Made since the last cycle's step 7.
    fresh: Mutex<Vec<WeakCell>>,
    /// The others. Used by the driver.
    known: Mutex<Vec<WeakCell>>,
    /// The cycle for which all slots have been emptied. Written by the driver.
    emptied: AtomicU64,
}

/// The cell of a weak object, whose first word is the slot.
#[derive(Debug)]
struct WeakCell(NonNull<u8>);

// SAFETY: followed by the driver alone, and only while the cell is allocated.
unsafe impl Send for WeakCell {}

impl Default for Weaks {
    fn default() -> Self {
        let (fresh, known) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        Self { fresh, known, emptied: AtomicU64::new(1) }
    }
}

fn locked<T, R>(mutex: &Mutex<T>, f: impl FnOnce(&mut T) -> R) -> R {
    // Nothing under these locks panics, so poison carries no news.
    f(&mut mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

impl Weaks {
    /// Registers a weak object, which a guard keeps during the call. Its cell begins with a [`Slot`].
    pub fn add(&self, weak: NonNull<u8>) {
        locked(&self.fresh, |fresh| fresh.push(WeakCell(weak)));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        locked(&self.fresh, |fresh| fresh.len()) + locked(&self.known, |known| known.len())
    }

    /// Step 7: empties the slots of dead targets. `survives` says what this cycle does not free.
    pub(crate) fn empty(&self, cycle: u64, survives: impl Fn(NonNull<u8>) -> bool) {
        let mut fresh = locked(&self.fresh, core::mem::take);
        locked(&self.known, |known| {
            known.append(&mut fresh);
            known.retain(|&WeakCell(weak)| {
                if !survives(weak) {
                    return false;
                }
                // SAFETY: the object survives, so it is there; it begins with its slot.
                let target = unsafe { weak.cast::<Slot>().as_ref() };
                let alive = target.load().is_some_and(&survives);
                if !alive {
                    target.empty();
                }
                alive
            });
        });
        // Release: whoever sees the cycle sees the slots empty; pairs with `Engine::upgrade`.
        self.emptied.store(cycle, Ordering::Release);
    }
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
    /// that of a registered weak object.
    pub unsafe fn upgrade(
        &self,
        operation: &Operation<'_, S>,
        slot: &Slot,
    ) -> Result<Link, Refused> {
        if !operation.log.has_room() {
            return Err(Refused::LogFull);
        }
        let reading = self.phase.read();
        // Acquire: if the slots were emptied for this cycle, ours is read after that; pairs with
        // `empty`.
        let emptied = self.weaks.emptied.load(Ordering::Acquire) == reading.cycle();
        let Some(cell) = slot.load() else { return Ok(None) };
        let logs = match reading.phase() {
            Phase::Off if emptied => false,
            // SAFETY: what a slot holds is not swept before it is emptied; and hand 4, which is yet to
            // come, waits for this operation.
            Phase::Off if unsafe { self.survives(cell, reading.cycle()) } => false,
            Phase::Off => return Ok(None),
            Phase::On => true,
            // SAFETY: as above.
            Phase::Mark if unsafe { self.space.is_marked(cell) } => false,
            Phase::Mark if self.phase.set_dirty().phase() == Phase::Mark => true,
            Phase::Mark => return Ok(None),
        };
        if logs {
            // SAFETY: the caller is the occupant, and there is room.
            unsafe { operation.log.push(cell) };
        }
        Ok(Some(cell))
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
