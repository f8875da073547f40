//! New objects.
//!
//! An allocation is tried as what it is nearly always: a cell that the cache holds, filled from where the
//! value is. Everything else is in functions of their own, which get the value whole: a value whose
//! address goes anywhere has to lie in memory, and what was just stored there in words is slow to load in
//! one piece.

use super::Guard;
use crate::{
    engine::Refused,
    error::{AllocError, SliceError},
    handle::{Gc, KindOf},
    heap::Tag,
    slice::{Slice, Str},
    space::{Kind, Taken},
    trace::{Rebind, Trace},
};
use core::{mem, mem::ManuallyDrop, ptr, ptr::NonNull};

impl<H: Tag> Guard<'_, H> {
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
    /// behind its [`Schedule`](crate::pacer::Schedule), an allocation that takes a new span marks as well:
    /// for 25 µs, and up to 32 objects more. An array counts as an object for each 128 elements; a map, or what
    /// is in a lock, as one.
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
        let (kind, bytes, pin) = (KindOf::<T, H>::ONE, mem::size_of::<T>(), self.pin());
        // The value is written from where it is, which may be registers: its address goes nowhere.
        let write = |cell: NonNull<u8>| {
            // SAFETY: the cell has room for a `T` and nobody else has it; the value is not used
            // again after this.
            unsafe { cell.cast::<T>().write(ptr::read(&*value)) }
        };
        let cell = self.quickly(|engine, operation| {
            // SAFETY: the pin is of this guard, which is held; `write` makes an object of this kind and size.
            unsafe { engine.allocate_cached(operation, pin, kind, bytes, write) }
        });
        match cell {
            // SAFETY: a `T` was just written there, and this guard keeps it for `'g`.
            Some(cell) => Ok(unsafe { Gc::from_cell(cell) }),
            None => self.try_alloc_slow(ManuallyDrop::into_inner(value)),
        }
    }

    /// The long way of [`try_alloc`](Self::try_alloc).
    #[cold]
    #[inline(never)]
    fn try_alloc_slow<'g, T>(&'g self, value: T) -> Result<Gc<'g, T, H>, AllocError<T>>
    where
        T: Trace<H> + Rebind<At<'g> = T>,
    {
        let value = ManuallyDrop::new(value);
        let write = |cell: NonNull<u8>| {
            // SAFETY: as in `try_alloc`.
            unsafe { cell.cast::<T>().copy_from_nonoverlapping(NonNull::from(&*value), 1) }
        };
        // SAFETY: `write` makes an object of this kind and size.
        match unsafe { self.place_slow(KindOf::<T, H>::ONE, mem::size_of::<T>(), &write) } {
            // SAFETY: as in `try_alloc`.
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
            unsafe { self.place(KindOf::<T, H>::SLICE, bytes, &write) }
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
            unsafe { self.place(KindOf::<u8, H>::SLICE, bytes, &write) }
        });
        // SAFETY: a slice of the bytes of a string was just written there, and this guard keeps it.
        placed.map(|cell| unsafe { Gc::from_cell(cell) }).ok_or(AllocError::new(()))
    }

    /// Takes a cell for an object, and fills it.
    ///
    /// # Safety
    ///
    /// `write` fills the cell with an object of this kind and size. It is called once, or never if the
    /// space is exhausted.
    unsafe fn place(
        &self,
        kind: &'static Kind,
        bytes: usize,
        write: &dyn Fn(NonNull<u8>),
    ) -> Option<NonNull<u8>> {
        let pin = self.pin();
        self.quickly(|engine, operation| {
            // SAFETY: the pin is of this guard, which is held, and `write` is the caller's.
            unsafe { engine.allocate_cached(operation, pin, kind, bytes, write) }
        })
        // SAFETY: the caller's; `write` was not called.
        .or_else(|| unsafe { self.place_slow(kind, bytes, write) })
    }

    /// The long way of [`place`](Self::place).
    ///
    /// # Safety
    ///
    /// As [`place`](Self::place).
    #[cold]
    #[inline(never)]
    unsafe fn place_slow(
        &self,
        kind: &'static Kind,
        bytes: usize,
        write: &dyn Fn(NonNull<u8>),
    ) -> Option<NonNull<u8>> {
        let pin = self.pin();
        loop {
            let attempt = self.core.operate(|operation| {
                // SAFETY: the pin is of this guard, which is held, and `write` is the caller's.
                unsafe { self.core.engine.allocate(operation, pin, kind, bytes, write) }
            });
            match attempt {
                Ok(Taken { cell, slow, .. }) => {
                    slow.into_iter().for_each(|took| self.core.after_slow_path(took));
                    return Some(cell);
                }
                Err(Refused::LogFull) if self.core.extend_log() => {}
                Err(Refused::LogFull | Refused::Exhausted) => {
                    self.core.request();
                    return None;
                }
            }
        }
    }
}
