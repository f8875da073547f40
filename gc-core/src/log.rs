//! The log: addresses that a mutator wants shaded, read by the collector from outside.
//!
//! # Problem
//!
//! The deletion barrier writes one address per deletion, on the mutator's fast path, and the
//! collector must be able to empty every log without asking the mutator for anything: it may be
//! computing, blocked in the kernel, or gone.
//!
//! # Algorithm
//!
//! One writer (the occupant of the local state), one reader (the driver of a cycle), a list of
//! chunks. The writer fills a slot, then publishes the chunk's length; the reader takes slots up
//! to the length. A full chunk gets a successor; the reader frees a chunk once it has read all of
//! it and seen the successor, and the writer never looks back.
//!
//! The writer cannot allocate: it runs where calling a foreign allocator can deadlock. So a full
//! log is a value, [`Log::has_room`] is asked *before* the deletion, and the caller makes the
//! [`Chunk`] outside and hands it in. The end of a cycle brings memory back, and stores have nowhere to
//! return an error to: so a cycle begins with some chunks in reserve, for when the allocator has none;
//! and without those, what would be logged is marked (`engine::unlogged`).

use crate::boxed::try_box;
use crate::sync::{AtomicPtr, AtomicUsize, LOG_CHUNK, Mutex, Ordering, UnsafeCell};
use core::ptr::{self, NonNull};

/// A piece of a log.
#[derive(Debug)]
pub struct Chunk {
    /// How many slots are filled. Written by the writer of the log.
    length: AtomicUsize,
    /// The successor, once there is one. Written by the writer of the log.
    next: AtomicPtr<Chunk>,
    slots: [AtomicPtr<u8>; LOG_CHUNK],
}

impl Chunk {
    fn new() -> Self {
        Chunk {
            length: AtomicUsize::new(0),
            next: AtomicPtr::new(ptr::null_mut()),
            slots: core::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// An empty chunk; `None` if the allocator has no memory.
    pub fn boxed() -> Option<Box<Chunk>> {
        try_box(Self::new()).ok()
    }
}

/// Chunks made in advance: for some thousand stores.
#[derive(Debug, Default)]
pub(crate) struct Reserve(Mutex<[Option<Box<Chunk>>; 4]>);

impl Reserve {
    fn places<R>(&self, f: impl FnOnce(&mut [Option<Box<Chunk>>]) -> R) -> R {
        // Nothing under this lock panics, so poison carries no news.
        f(&mut *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Makes what is missing, as far as there is memory.
    pub(crate) fn fill(&self) {
        let empty = |place: &&mut Option<_>| place.is_none();
        self.places(|places| {
            places.iter_mut().filter(empty).for_each(|place| *place = Chunk::boxed())
        });
    }

    pub(crate) fn take(&self) -> Option<Box<Chunk>> {
        self.places(|places| places.iter_mut().find_map(Option::take))
    }
}

/// Where the reader stands.
#[derive(Debug)]
struct Reader {
    chunk: NonNull<Chunk>,
    read: usize,
}

/// The log of one local state. See the [module](self).
#[derive(Debug)]
pub struct Log {
    /// The chunk being filled. Used by the writer alone.
    tail: AtomicPtr<Chunk>,
    /// Used by the reader alone.
    reader: UnsafeCell<Reader>,
}

// SAFETY: the methods' contracts give each side one user at a time; everything that both sides
// touch is atomic.
unsafe impl Send for Log {}
// SAFETY: as above.
unsafe impl Sync for Log {}

impl Log {
    /// An empty log; `None` if the allocator has no memory for its first chunk.
    pub fn new() -> Option<Self> {
        let first = NonNull::from(Box::leak(Chunk::boxed()?));
        let reader = UnsafeCell::new(Reader { chunk: first, read: 0 });
        Some(Self { tail: AtomicPtr::new(first.as_ptr()), reader })
    }

    #[inline]
    fn tail(&self) -> &Chunk {
        // Relaxed: only the writer uses it, and passing the occupancy on orders it.
        let tail = self.tail.load(Ordering::Relaxed);
        // SAFETY: the reader frees a chunk only after it saw a successor, and the writer moves
        // `tail` to the successor in the call that publishes it.
        unsafe { &*tail }
    }

    /// Whether one more address fits. Only the writer may rely on the answer.
    #[inline]
    pub fn has_room(&self) -> bool {
        // Relaxed: only the writer changes it.
        self.tail().length.load(Ordering::Relaxed) < LOG_CHUNK
    }

    /// Appends an address.
    ///
    /// # Safety
    ///
    /// The caller is the writer (it occupies the local state), and
    /// [`has_room`](Self::has_room) was true since it last appended.
    #[inline]
    pub unsafe fn push(&self, cell: NonNull<u8>) {
        let tail = self.tail();
        // Relaxed: only the writer changes it.
        let length = tail.length.load(Ordering::Relaxed);
        debug_assert!(length < LOG_CHUNK, "push into a full log");
        // Relaxed: published by the length.
        tail.slots[length].store(cell.as_ptr(), Ordering::Relaxed);
        // Release: publishes the slot, and what the writer wrote into a new object; pairs with
        // the Acquire load in `drain`.
        tail.length.store(length + 1, Ordering::Release);
    }

    /// Appends a chunk, unless there is room again; then the chunk comes back.
    ///
    /// # Safety
    ///
    /// The caller is the writer.
    pub unsafe fn extend(&self, chunk: Box<Chunk>) -> Option<Box<Chunk>> {
        if self.has_room() {
            return Some(chunk);
        }
        let next = Box::into_raw(chunk);
        let full = self.tail();
        // Relaxed: only the writer uses it.
        self.tail.store(next, Ordering::Relaxed);
        // Release: publishes the empty chunk; pairs with the Acquire load in `drain`. After it
        // the full chunk may be gone.
        full.next.store(next, Ordering::Release);
        None
    }

    /// Takes out everything that was published, oldest first.
    ///
    /// # Safety
    ///
    /// The caller is the reader: the one driver of the heap's cycle.
    pub unsafe fn drain(&self, mut each: impl FnMut(NonNull<u8>)) {
        self.reader.with_mut(|reader| {
            // SAFETY: the caller is the only reader.
            let reader = unsafe { &mut *reader };
            // SAFETY: the reader's chunk lives until `advance` frees it.
            while unsafe { reader.read_chunk(&mut each) } {}
        });
    }

    /// As [`drain`](Self::drain), but no more than so many chunks.
    ///
    /// # Safety
    ///
    /// As [`drain`](Self::drain).
    pub(crate) unsafe fn drain_some(&self, chunks: usize, mut each: impl FnMut(NonNull<u8>)) {
        self.reader.with_mut(|reader| {
            // SAFETY: as in `drain`.
            let reader = unsafe { &mut *reader };
            // SAFETY: as in `drain`.
            let _ = (0..chunks).all(|_| unsafe { reader.read_chunk(&mut each) });
        });
    }
}

impl Reader {
    /// Reads what the current chunk holds; true if it went on to a next one.
    ///
    /// # Safety
    ///
    /// The caller is the only reader.
    unsafe fn read_chunk(&mut self, each: &mut impl FnMut(NonNull<u8>)) -> bool {
        // SAFETY: a chunk lives until the reader leaves it, below.
        let chunk = unsafe { self.chunk.as_ref() };
        // Acquire: brings the slots; pairs with `push`.
        let length = chunk.length.load(Ordering::Acquire);
        for slot in &chunk.slots[self.read..length] {
            // Relaxed: published by the length.
            let cell = NonNull::new(slot.load(Ordering::Relaxed));
            each(cell.expect("published slots hold addresses"));
        }
        self.read = length;
        if length < LOG_CHUNK {
            return false;
        }
        // Acquire: brings the empty successor; pairs with `extend`.
        let Some(next) = NonNull::new(chunk.next.load(Ordering::Acquire)) else { return false };
        // SAFETY: the chunk came from a Box, all of it is read, and the writer has moved on.
        drop(unsafe { Box::from_raw(self.chunk.as_ptr()) });
        *self = Reader { chunk: next, read: 0 };
        true
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // SAFETY: nobody else has the log any more; this frees all chunks but the last.
        unsafe { self.drain(|_| ()) };
        // SAFETY: as above, and the last chunk came from a Box.
        self.reader.with_mut(|reader| drop(unsafe { Box::from_raw((*reader).chunk.as_ptr()) }));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_order_over_chunks() {
        let log = Log::new().unwrap();
        let address = |n: usize| NonNull::new(ptr::without_provenance_mut::<u8>(n)).unwrap();
        let mut seen = Vec::new();
        for n in 1..=3 * LOG_CHUNK {
            if !log.has_room() {
                // SAFETY: this thread is the writer.
                assert!(unsafe { log.extend(Chunk::boxed().unwrap()) }.is_none());
            }
            // SAFETY: this thread is the writer and there is room.
            unsafe { log.push(address(n)) };
            if n % 700 == 0 {
                // SAFETY: this thread is the reader.
                unsafe { log.drain(|cell| seen.push(cell.as_ptr().addr())) };
            }
        }
        // SAFETY: as above.
        unsafe { log.drain(|cell| seen.push(cell.as_ptr().addr())) };
        assert_eq!(seen, (1..=3 * LOG_CHUNK).collect::<Vec<_>>());
    }

    #[test]
    fn a_chunk_that_is_not_needed_comes_back() {
        let log = Log::new().unwrap();
        // SAFETY: this thread is the writer.
        assert!(unsafe { log.extend(Chunk::boxed().unwrap()) }.is_some());
    }
}
