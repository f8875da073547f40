//! Records that are never moved: who has one, and all there are.
//!
//! # Problem
//!
//! Records of goroutines are used again by the next ones, and a dump walks over all of them while that
//! happens. A record must be in one hand at a time; a walk must come to each that is in somebody's hand
//! all the while, though others are taken, given back and made under it; and somebody must be told when
//! none is out any more, once, as the memory of all may then go.
//!
//! # How
//!
//! Records are made by the chunk. A chunk is linked to those before it under the lock and stays where it is until
//! the roster goes, so a walk takes the lock once, for the newest chunk, and follows links that do not change.
//! What it finds in a record, of which life that is, is between the two of them ([`task::about`](crate::task::about)).
//!
//! Free records lie in a list under the same lock, and their number with them:
//!
//! ```text
//! free + out = CHUNK · chunks
//! ```
//!
//! So *none was out* and *none is out any more* are told in the order in which they happened, by turns.
//!
//! Model: `loom-tests/tests/sched_roster.rs`.

use core::fmt;
use core::iter;
use core::ptr::{NonNull, null_mut};

use crate::boxed::try_room;
use crate::lock::Lock;
use crate::sync::{const_unless_loom, scaled};

/// Records made at once: a few pages.
const CHUNK: usize = scaled(64, 1);

/// What lies in a roster.
///
/// # Safety
///
/// `next_free` gives what `set_next_free` was given last, and neither does anything else.
pub unsafe trait Record: Sized {
    /// The record after this one in the list of free ones in which it lies.
    fn next_free(&self) -> *mut Self;

    /// Puts the record before `next`. The caller has the record and the list.
    fn set_next_free(&self, next: *mut Self);
}

/// All records of one kind. See the [module](self).
///
/// ```
/// use sched_core::roster::{Chunk, Record, Roster};
/// use std::sync::atomic::{AtomicPtr, Ordering};
///
/// #[derive(Default)]
/// struct Name(AtomicPtr<Name>);
/// // SAFETY: a plain word.
/// unsafe impl Record for Name {
///     fn next_free(&self) -> *mut Name {
///         self.0.load(Ordering::Relaxed)
///     }
///     fn set_next_free(&self, next: *mut Name) {
///         self.0.store(next, Ordering::Relaxed);
///     }
/// }
///
/// let roster = Roster::<Name>::new();
/// assert!(roster.take().is_none());
/// roster.add(Chunk::new(Name::default).expect("there is memory"));
/// let (record, first) = roster.take().expect("some were made");
/// assert!(first);
/// assert!(roster.records().any(|one| std::ptr::eq(one, record.as_ptr())));
/// // SAFETY: taken above.
/// assert!(unsafe { roster.give(record) }, "the last one");
/// ```
pub struct Roster<R: Record>(Lock<Records<R>>);

struct Records<R> {
    free: List<R>,
    /// Records that are not in `free`.
    out: usize,
    chunks: *mut Chunk<R>,
}

// SAFETY: the pointers are the roster's own; the lock around them gives them to one at a time.
unsafe impl<R: Send + Sync> Send for Records<R> {}

/// Some records, for a [`Roster`].
pub struct Chunk<R> {
    records: [R; CHUNK],
    /// The one made before it. Constant once it is linked itself.
    next: *mut Chunk<R>,
}

impl<R: Record> Chunk<R> {
    /// Makes some. Allocates: must be called outside the runtime. `None`: there is no memory for them.
    pub fn new(make: impl Fn() -> R) -> Option<Box<Self>> {
        let room = try_room()?;
        Some(Box::write(
            room,
            Chunk { records: core::array::from_fn(|_| make()), next: null_mut() },
        ))
    }
}

impl<R> fmt::Debug for Chunk<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chunk")
    }
}

/// A list of free records, last in, first out.
pub struct List<R> {
    head: *mut R,
    len: usize,
}

// SAFETY: whoever has the list has the records in it, and uses them from one thread at a time.
unsafe impl<R: Send + Sync> Send for List<R> {}

impl<R: Record> List<R> {
    /// An empty one.
    pub const fn new() -> Self {
        Self { head: null_mut(), len: 0 }
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a record in front.
    ///
    /// # Safety
    ///
    /// The record is the caller's until then, and alive as long as it is in the list.
    pub unsafe fn push(&mut self, record: NonNull<R>) {
        // SAFETY: the caller's promise.
        unsafe { record.as_ref() }.set_next_free(self.head);
        self.head = record.as_ptr();
        self.len += 1;
    }

    /// Takes the first one out.
    pub fn pop(&mut self) -> Option<NonNull<R>> {
        let record = NonNull::new(self.head)?;
        // SAFETY: alive while it is in the list.
        self.head = unsafe { record.as_ref() }.next_free();
        self.len -= 1;
        Some(record)
    }
}

impl<R: Record> Roster<R> {
    const_unless_loom! {
        /// No records.
        pub const fn new() -> Self {
            Self(Lock::new(Records { free: List::new(), out: 0, chunks: null_mut() }))
        }
    }

    /// A free record, and whether none was out before.
    pub fn take(&self) -> Option<(NonNull<R>, bool)> {
        let mut records = self.0.lock();
        let record = records.free.pop()?;
        records.out += 1;
        Some((record, records.out == 1))
    }

    /// Takes a record back. True if none is out any more.
    ///
    /// # Safety
    ///
    /// The record was taken here, and the caller uses it no more.
    #[must_use]
    pub unsafe fn give(&self, record: NonNull<R>) -> bool {
        let mut records = self.0.lock();
        // SAFETY: records live as long as the roster.
        unsafe { records.free.push(record) };
        records.out -= 1;
        records.out == 0
    }

    /// Whether no record is free.
    pub fn is_dry(&self) -> bool {
        self.0.lock().free.is_empty()
    }

    /// Takes some records more, which are free.
    pub fn add(&self, chunk: Box<Chunk<R>>) {
        let chunk = Box::leak(chunk);
        let mut records = self.0.lock();
        chunk.next = records.chunks;
        records.chunks = chunk;
        for record in &chunk.records {
            // SAFETY: in a chunk of this roster.
            unsafe { records.free.push(NonNull::from(record)) };
        }
    }

    /// All records there are, in somebody's hand or free.
    pub fn records(&self) -> impl Iterator<Item = &R> {
        // SAFETY: null, or a chunk that was linked under the lock, with a `next` that is constant since;
        // chunks are freed with the roster.
        let chunk = |chunk: *mut Chunk<R>| unsafe { chunk.cast_const().as_ref() };
        let newest = self.0.lock().chunks;
        let chunks = iter::successors(chunk(newest), move |newer| chunk(newer.next));
        chunks.flat_map(|chunk: &Chunk<R>| &chunk.records)
    }
}

impl<R: Record> Drop for Roster<R> {
    fn drop(&mut self) {
        let mut chunk = self.0.get_mut().chunks;
        while !chunk.is_null() {
            // SAFETY: `add` leaked it from a box. Nobody has a record any more, nor walks over them.
            let owned = unsafe { Box::from_raw(chunk) };
            chunk = owned.next;
        }
    }
}

impl<R: Record> Default for List<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Record> Default for Roster<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Record> fmt::Debug for Roster<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roster").finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for List<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("len", &self.len).finish_non_exhaustive()
    }
}
