//! [`Guard`]: the right to hold pointers into the heap.
//!
//! Entering a guard counts it in the current epoch; it costs two stores and waits for nothing; at
//! the outermost level it helps to mark when the heap outruns its collector (bounded, see
//! [`Heap::enter`](crate::Heap::enter), also for collections that stop the world). A guard held for long delays the end of a cycle and with
//! it the reuse of memory; it never delays another mutator.
//!
//! Everything that a guard does to the heap runs inside
//! [`World::with`](crate::world::World::with), on the local state of wherever the task runs at
//! that moment. A guard may be left on another one than it was entered on.

use crate::{
    action::Watch,
    dynamic::rebound,
    engine::{Engine, Link, Refused, Slot},
    error::{AllocError, SliceError},
    handle::{Gc, KindOf},
    handshake::Pin,
    heap::Tag,
    inner::Core,
    local::Operation,
    log::Chunk,
    root::Root,
    slice::{Slice, Str},
    space::{Kind, Taken},
    trace::{Pointee, Rebind, Trace, Tracer},
};
use core::{fmt, marker::PhantomData, mem, mem::ManuallyDrop, ptr::NonNull};
use std::sync::Arc;

/// The right to hold pointers into a heap, and to change it. Comes from
/// [`Heap::enter`](crate::Heap::enter).
///
/// ```
/// use gc_core::{Heap, Plain};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let kept = {
///     let guard = heap.enter();
///     let word = guard.alloc_str("held");
///     let kept = guard.root(word);
///     assert_eq!(word.as_str(), "held");
///     kept
/// }; // `word` ends here, at the latest
/// heap.collect().unwrap();
/// assert_eq!(kept.get(&heap.enter()).as_str(), "held");
/// ```
pub struct Guard<'h, H: Tag = crate::Plain> {
    core: &'h Arc<Core<H>>,
    /// None only while `repin` is outside.
    pin: Option<Pin>,
    /// The guard is counted for its task; it stays there.
    not_send: PhantomData<*mut ()>,
}

impl<'h, H: Tag> Guard<'h, H> {
    #[inline]
    pub(crate) fn enter(core: &'h Arc<Core<H>>) -> Self {
        Self { core, pin: Some(core.pin()), not_send: PhantomData }
    }

    /// Leaves and enters again, so that a cycle need not wait for a long-lived guard.
    ///
    /// No pointer survives: they borrow the guard, and this asks for all of it.
    ///
    /// ```compile_fail,E0502
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let mut guard = heap.enter();
    /// let answer = guard.alloc(42u64);
    /// guard.repin();
    /// assert_eq!(*answer, 42);
    /// ```
    pub fn repin(&mut self) {
        self.leave();
        self.core.relieve();
        self.pin = Some(self.core.pin());
    }

    /// Counts the guard out, unless it is out already: waiting in `repin` may unwind.
    fn leave(&mut self) {
        if let Some(pin) = self.pin.take() {
            // SAFETY: the pin came from `pin` of this core, and is taken out: it is left once.
            unsafe { self.core.unpin(pin) };
        }
    }

    /// Moves a value into the heap.
    ///
    /// # Panics
    ///
    /// If the space is exhausted; [`try_alloc`](Self::try_alloc) returns that as a value.
    ///
    /// ```
    /// use gc_core::{Gc, Heap, Plain, Trace};
    ///
    /// #[derive(Trace)]
    /// struct Pair<'g> {
    ///     left: Gc<'g, u64>,
    ///     right: Gc<'g, u64>,
    /// }
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let seven = guard.alloc(7);
    /// let pair = guard.alloc(Pair { left: seven, right: guard.alloc(8) });
    /// assert!(pair.left == seven && *pair.right == 8);
    /// ```
    #[inline]
    pub fn alloc<'g, T>(&'g self, value: T) -> Gc<'g, T, H>
    where
        T: Trace<H> + Rebind<At<'g> = T>,
    {
        self.try_alloc(value).unwrap_or_else(|refused| refused.panic())
    }

    /// Moves a value into the heap, or gives it back when the space is exhausted. Never waits:
    /// the caller holds a guard, and the collector may be waiting for that. While a collector at work is
    /// behind its [`Schedule`](crate::pacer::Schedule), an allocation that takes a new span marks as well,
    /// for 50 µs at most.
    ///
    /// # Errors
    ///
    /// [`AllocError`] with the value.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, space::blocks::Blocks, world::threads::Threads};
    ///
    /// let heap = Heap::<Plain>::builder().build(Blocks::with_limit(0), Threads::new()).unwrap();
    /// let guard = heap.enter();
    /// assert_eq!(guard.try_alloc(7u64).unwrap_err().into_inner(), 7);
    /// ```
    #[inline]
    pub fn try_alloc<'g, T>(&'g self, value: T) -> Result<Gc<'g, T, H>, AllocError<T>>
    where
        T: Trace<H> + Rebind<At<'g> = T>,
    {
        let value = ManuallyDrop::new(value);
        let write = |cell: NonNull<u8>| {
            // SAFETY: the cell has room for a `T` and nobody else has it; the value is not used
            // again after this.
            unsafe { cell.cast::<T>().copy_from_nonoverlapping(NonNull::from(&*value), 1) }
        };
        // SAFETY: `write` makes an object of this kind and size.
        match unsafe { self.place(KindOf::<T, H>::ONE, mem::size_of::<T>(), write) } {
            // SAFETY: a `T` was just written there, and this guard keeps it for `'g`.
            Some(cell) => Ok(unsafe { Gc::from_cell(cell) }),
            None => Err(AllocError::new(ManuallyDrop::into_inner(value))),
        }
    }

    /// Moves items into one object in the heap.
    ///
    /// # Panics
    ///
    /// If the space is exhausted; [`try_alloc_slice`](Self::try_alloc_slice) returns that as a
    /// value.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let squares = guard.alloc_slice((1..=3u64).map(|n| n * n));
    /// assert_eq!(squares.as_slice(), [1, 4, 9]);
    /// ```
    pub fn alloc_slice<'g, T>(&'g self, items: impl IntoIterator<Item = T>) -> Gc<'g, Slice<T>, H>
    where
        T: Trace<H> + Rebind<At<'g> = T>,
    {
        self.try_alloc_slice(items.into_iter().collect()).unwrap_or_else(|refused| refused.panic())
    }

    /// Moves items into one object in the heap, or gives them back.
    ///
    /// # Errors
    ///
    /// [`AllocError`] with the items.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, space::blocks::Blocks, world::threads::Threads};
    ///
    /// let heap = Heap::<Plain>::builder().build(Blocks::with_limit(0), Threads::new()).unwrap();
    /// let guard = heap.enter();
    /// assert_eq!(guard.try_alloc_slice(vec![7u64]).unwrap_err().into_inner(), [7]);
    /// ```
    pub fn try_alloc_slice<'g, T>(
        &'g self,
        items: Vec<T>,
    ) -> Result<Gc<'g, Slice<T>, H>, SliceError<T>>
    where
        T: Trace<H> + Rebind<At<'g> = T>,
    {
        // From `write` on the items are the cell's, also if a waker unwinds after it.
        let mut items = ManuallyDrop::new(items);
        let write = |cell: NonNull<u8>| {
            // SAFETY: the cell has room for the slice; the items are forgotten below.
            unsafe { Slice::write(cell, &items) }
        };
        let placed = Slice::<T>::bytes(items.len()).and_then(|bytes| {
            // SAFETY: `write` makes an object of this kind and size.
            unsafe { self.place(KindOf::<T, H>::SLICE, bytes, write) }
        });
        let Some(cell) = placed else {
            return Err(AllocError::new(ManuallyDrop::into_inner(items)));
        };
        // SAFETY: the items have moved into the cell; the vector keeps its buffer only.
        unsafe { items.set_len(0) };
        drop(ManuallyDrop::into_inner(items));
        // SAFETY: a slice was just written there, and this guard keeps it for `'g`.
        Ok(unsafe { Gc::from_cell(cell) })
    }

    /// Copies a string into the heap.
    ///
    /// # Panics
    ///
    /// If the space is exhausted; [`try_alloc_str`](Self::try_alloc_str) returns that as a value.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let name = guard.alloc_str("gopher");
    /// assert_eq!((name.as_str(), name.len()), ("gopher", 6));
    /// ```
    pub fn alloc_str<'g>(&'g self, text: &str) -> Gc<'g, Str, H> {
        self.try_alloc_str(text).unwrap_or_else(|refused| refused.panic())
    }

    /// Copies a string into the heap.
    ///
    /// # Errors
    ///
    /// [`AllocError`], if the space is exhausted.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, space::blocks::Blocks, world::threads::Threads};
    ///
    /// let heap = Heap::<Plain>::builder().build(Blocks::with_limit(0), Threads::new()).unwrap();
    /// assert!(heap.enter().try_alloc_str("nowhere").is_err());
    /// ```
    pub fn try_alloc_str<'g>(&'g self, text: &str) -> Result<Gc<'g, Str, H>, AllocError<()>> {
        let write = |cell: NonNull<u8>| {
            // SAFETY: the cell has room for the slice, and bytes are copied.
            unsafe { Slice::write(cell, text.as_bytes()) }
        };
        let placed = Slice::<u8>::bytes(text.len()).and_then(|bytes| {
            // SAFETY: `write` makes an object of this kind and size.
            unsafe { self.place(KindOf::<u8, H>::SLICE, bytes, write) }
        });
        // SAFETY: a slice of the bytes of a string was just written there, and this guard keeps it.
        placed.map(|cell| unsafe { Gc::from_cell(cell) }).ok_or(AllocError::new(()))
    }

    /// Keeps an object alive beyond the guard.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, Root};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let kept: Root<u64> = {
    ///     let guard = heap.enter();
    ///     guard.root(guard.alloc(7u64))
    /// };
    /// heap.collect().unwrap();
    /// assert_eq!(*kept.get(&heap.enter()), 7);
    /// ```
    pub fn root<'g, T>(&'g self, object: Gc<'g, T, H>) -> Root<T::At<'static>, H>
    where
        T: ?Sized + Pointee,
    {
        // SAFETY: the object is a `T`, which is a `T::At<'static>` under another lifetime.
        unsafe { Root::new(self.core, rebound(object.pointer())) }
    }

    /// # Safety
    ///
    /// `write` fills the cell with an object of this kind and size. It may be called once.
    #[inline]
    unsafe fn place(
        &self,
        kind: &'static Kind,
        bytes: usize,
        write: impl Fn(NonNull<u8>),
    ) -> Option<NonNull<u8>> {
        let pin = self.pin();
        let attempt = self.core.try_operate(|operation| {
            // SAFETY: the pin is of this guard, which is held, and `write` is the caller's.
            unsafe { self.core.engine.allocate(operation, pin, kind, bytes, &write) }
        });
        match attempt {
            Some(Ok(Taken { cell, slow: None, .. })) => Some(cell),
            // SAFETY: the caller's; `write` was called only if a cell was taken.
            attempt => unsafe { self.place_slow(attempt, kind, bytes, &write) },
        }
    }

    /// After an attempt to take a cell that was not all there is to it.
    ///
    /// # Safety
    ///
    /// As [`place`](Self::place).
    #[cold]
    #[inline(never)]
    unsafe fn place_slow(
        &self,
        mut attempt: Option<Result<Taken, Refused>>,
        kind: &'static Kind,
        bytes: usize,
        write: &dyn Fn(NonNull<u8>),
    ) -> Option<NonNull<u8>> {
        let pin = self.pin();
        loop {
            match attempt {
                Some(Ok(Taken { cell, slow, .. })) => {
                    slow.into_iter().for_each(|took| self.core.after_slow_path(took));
                    return Some(cell);
                }
                Some(Err(Refused::LogFull)) => self.core.extend_log(),
                Some(Err(Refused::Exhausted)) => {
                    self.core.request();
                    return None;
                }
                None => {}
            }
            attempt = Some(self.core.operate(|operation| {
                // SAFETY: as in `place`.
                unsafe { self.core.engine.allocate(operation, pin, kind, bytes, write) }
            }));
        }
    }

    #[inline(always)]
    fn pin(&self) -> Pin {
        self.pin.expect("only `repin` is without, and that has the guard to itself")
    }

    #[inline(always)]
    pub(crate) fn core(&self) -> &'h Arc<Core<H>> {
        self.core
    }

    /// Logs the edges that a tracer was told of, which the caller has found while the barrier was on.
    pub(crate) fn log(&self, tracer: &mut Tracer) {
        while let Some(cell) = tracer.pop() {
            // SAFETY: the guard keeps what the caller found.
            self.retry(|engine, operation| unsafe { engine.log(operation, cell) });
        }
    }

    pub(crate) fn upgrade(&self, slot: &Slot) -> Link {
        // SAFETY: the guard is held, and slots of weak objects are registered.
        self.retry(|engine, operation| unsafe { engine.upgrade(operation, slot) })
    }

    /// With the hybrid barrier: logs what is about to be put into a slot. An operation of its own, for
    /// the deletion barrier needs none of it.
    fn log_new(&self, new: Link) {
        let Some(new) = new.filter(|_| self.core.engine.phase.read().logs_new()) else { return };
        // SAFETY: the guard is held, and `new` lives for a lifetime that covers the call.
        self.retry(|engine, operation| unsafe { engine.log(operation, new) });
    }

    // A store is tried as what it is while no cycle runs: a few instructions, in which nothing is called.
    // Whoever writes to objects at random places waits for memory, and a processor that has few
    // instructions before it asks for the next place meanwhile.

    #[inline]
    pub(crate) fn store(&self, slot: &Slot, new: Link) {
        // SAFETY: the guard is held, and `new` lives for a lifetime that covers the call.
        let done =
            self.quickly(|engine, operation| unsafe { engine.store_off(operation, slot, new) });
        if done.is_none() {
            self.store_slow(slot, new);
        }
    }

    #[inline(never)]
    fn store_slow(&self, slot: &Slot, new: Link) {
        self.log_new(new);
        // SAFETY: as in `store`.
        self.retry(|engine, operation| unsafe { engine.store(operation, slot, new) });
    }

    #[inline]
    pub(crate) fn swap(&self, slot: &Slot, new: Link) -> Link {
        // SAFETY: as in `store`.
        self.quickly(|engine, operation| unsafe { engine.swap_off(operation, slot, new) })
            .unwrap_or_else(|| self.swap_slow(slot, new))
    }

    #[inline(never)]
    fn swap_slow(&self, slot: &Slot, new: Link) -> Link {
        self.log_new(new);
        // SAFETY: as in `store`.
        self.retry(|engine, operation| unsafe { engine.swap(operation, slot, new) })
    }

    #[inline]
    pub(crate) fn compare_exchange(
        &self,
        slot: &Slot,
        current: Link,
        new: Link,
    ) -> Result<Link, Link> {
        // SAFETY: as in `store`.
        self.quickly(|engine, me| unsafe { engine.compare_exchange_off(me, slot, current, new) })
            .unwrap_or_else(|| self.compare_exchange_slow(slot, current, new))
    }

    #[inline(never)]
    fn compare_exchange_slow(&self, slot: &Slot, current: Link, new: Link) -> Result<Link, Link> {
        self.log_new(new);
        self.retry(|engine, operation| {
            // SAFETY: as in `store`.
            unsafe { engine.compare_exchange(operation, slot, current, new) }
        })
    }

    /// One operation, if the local state is at hand. `None` if it is not, or if `act` declines.
    #[inline(always)]
    fn quickly<R>(
        &self,
        act: impl FnOnce(&Engine<H::Space>, &Operation<'_, H::Space>) -> Option<R>,
    ) -> Option<R> {
        self.core.try_operate(|operation| act(&self.core.engine, operation)).flatten()
    }

    /// Repeats a store until the log had room for it.
    #[inline]
    fn retry<R>(
        &self,
        store: impl Fn(&Engine<H::Space>, &Operation<'_, H::Space>) -> Result<R, Refused>,
    ) -> R {
        loop {
            match self.core.operate(|operation| store(&self.core.engine, operation)) {
                Ok(value) => return value,
                Err(_full) => self.core.extend_log(),
            }
        }
    }
}

impl<H: Tag> Core<H> {
    /// Gives the local log a new chunk. The chunk is made, and an unneeded one dropped, outside
    /// `with`.
    #[cold]
    pub(crate) fn extend_log(&self) {
        let watch = Watch::start(&self.world);
        let chunk = Chunk::boxed();
        // SAFETY: `with` makes us the occupant, that is the writer.
        let unneeded = self.with(|local| unsafe { local.log.extend(chunk) });
        drop(unneeded);
        let took = watch.stop(&self.world);
        self.with(|local| local.diary().logs.note(took));
    }
}

impl<H: Tag> Drop for Guard<'_, H> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<H: Tag> fmt::Debug for Guard<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("pin", &self.pin).finish_non_exhaustive()
    }
}
