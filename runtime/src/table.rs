//! [`Table`]: values by number, which are found without a lock and stay for good.
//!
//! The collector's local states of Ps lie here. A lookup is two loads. To put one there takes two steps, as memory must
//! not be asked for inside the runtime: [`grow`](Table::grow) makes room for a number, outside; [`put`](Table::put) puts
//! a value there, and gives it back if somebody was first.
//!
//! Places lie in chunks that are made when the first number of theirs is wanted. Neither chunks nor values are ever
//! freed, so who has found one needs nothing to keep it.
//!
//! Model: `loom-tests/tests/runtime_table.rs`.

use std::array;
use std::ptr;

use sched_core::sync::{AtomicPtr, Ordering, scaled};

/// Places in a chunk.
const CHUNK: usize = scaled(256, 2);

type Chunk<T> = [AtomicPtr<T>; CHUNK];

/// Values by number, in this many chunks. Grows, never shrinks.
#[derive(Debug)]
pub struct Table<T, const CHUNKS: usize> {
    chunks: [AtomicPtr<Chunk<T>>; CHUNKS],
}

/// How many chunks numbers below `limit` take.
pub const fn chunks(limit: usize) -> usize {
    limit.div_ceil(CHUNK)
}

impl<T: Send + Sync + 'static, const CHUNKS: usize> Table<T, CHUNKS> {
    /// One without any.
    pub fn new() -> Self {
        Table { chunks: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())) }
    }

    /// The value of this number.
    #[inline]
    pub fn get(&self, number: usize) -> Option<&'static T> {
        // Acquire: brings the value; pairs with the Release in `put`.
        let value = self.chunk(number / CHUNK)?[number % CHUNK].load(Ordering::Acquire);
        // SAFETY: null, or a box that `put` leaked for good.
        unsafe { value.as_ref() }
    }

    fn chunk(&self, index: usize) -> Option<&Chunk<T>> {
        // Acquire: brings the chunk; pairs with the Release in `grow`.
        let chunk = self.chunks[index].load(Ordering::Acquire);
        // SAFETY: null, or a box that `grow` leaked.
        unsafe { chunk.as_ref() }
    }

    /// Makes sure that there is room for this number; false if the allocator has no memory for it.
    pub fn grow(&self, number: usize) -> bool {
        let place = &self.chunks[number / CHUNK];
        // Relaxed: who looks into it loads it anew.
        if !place.load(Ordering::Relaxed).is_null() {
            return true;
        }
        let Some(chunk) = try_filled(|| AtomicPtr::new(ptr::null_mut())) else { return false };
        let (chunk, empty) = (Box::into_raw(chunk), ptr::null_mut());
        // Release: publishes the chunk; pairs with `chunk`. Relaxed: the loser looks at nothing.
        if place.compare_exchange(empty, chunk, Ordering::Release, Ordering::Relaxed).is_err() {
            // SAFETY: made above, and nobody has seen it.
            drop(unsafe { Box::from_raw(chunk) });
        }
        true
    }

    /// Puts a value where there is none; gives it back where there is one, or no room.
    pub fn put(&self, number: usize, value: Box<T>) -> Option<Box<T>> {
        let Some(chunk) = self.chunk(number / CHUNK) else { return Some(value) };
        let (value, empty) = (Box::into_raw(value), ptr::null_mut());
        let place = &chunk[number % CHUNK];
        // Release: publishes the value; pairs with `get`. Relaxed: the loser looks at nothing.
        match place.compare_exchange(empty, value, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => None,
            // SAFETY: made from a box above, and nobody has seen it.
            Err(_) => Some(unsafe { Box::from_raw(value) }),
        }
    }

    /// Calls `f` with each value.
    pub fn each(&self, f: &mut dyn FnMut(&T)) {
        for index in (0..CHUNKS).filter(|index| self.chunk(*index).is_some()) {
            let places = index * CHUNK..(index + 1) * CHUNK;
            places.filter_map(|number| self.get(number)).for_each(&mut *f);
        }
    }
}

impl<T: Send + Sync + 'static, const CHUNKS: usize> Default for Table<T, CHUNKS> {
    fn default() -> Self {
        Self::new()
    }
}

/// An array in a box; `None` if the allocator has no memory for it.
pub(crate) fn try_filled<T, const N: usize>(each: impl FnMut() -> T) -> Option<Box<[T; N]>> {
    let mut items = Vec::new();
    items.try_reserve_exact(N).ok()?;
    items.resize_with(N, each);
    // In the place that was reserved.
    items.into_boxed_slice().try_into().ok()
}
