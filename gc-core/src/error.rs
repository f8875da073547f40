//! What can go wrong, as values.

use crate::space::Exhausted;
use core::{error, fmt};

/// The space is exhausted. Gives back what should have gone into it.
///
/// ```
/// use gc_core::{Heap, Plain, space::blocks::Blocks, world::threads::Threads};
///
/// let heap = Heap::<Plain>::builder().build(Blocks::with_limit(0), Threads::new()).unwrap();
/// let guard = heap.enter();
/// let refused = guard.try_alloc(String::from("not lost")).unwrap_err();
/// assert_eq!(refused.to_string(), "the collected heap is exhausted");
/// assert_eq!(refused.into_inner(), "not lost");
/// ```
pub struct AllocError<T>(T);

/// The space is exhausted. Gives back the items that should have gone into it.
pub type SliceError<T> = AllocError<Vec<T>>;

impl<T> AllocError<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    /// What should have gone into the heap.
    pub fn into_inner(self) -> T {
        self.0
    }

    #[cold]
    pub(crate) fn panic(self) -> ! {
        panic!("{self}")
    }
}

impl<T> fmt::Debug for AllocError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AllocError")
    }
}

impl<T> fmt::Display for AllocError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the collected heap is exhausted")
    }
}

impl<T> error::Error for AllocError<T> {}

/// Why a heap could not be made, entered or collected.
///
/// ```
/// use gc_core::{Heap, HeapError, Plain};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let guard = heap.enter();
/// let refused = heap.collect().unwrap_err();
/// assert_eq!(refused, HeapError::InsideGuard);
/// assert_eq!(refused.to_string(), "collect() was called inside a guard");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HeapError {
    /// Another heap with this tag is alive; its last handle, root or guard keeps it so.
    TagInUse,
    /// The caller holds a guard: the collection would wait for it, and it for the collection.
    InsideGuard,
    /// A driver panicked in the middle of a cycle: its `pause`, a user's pacer, or checkmark. The
    /// heap can be used, and is never collected again.
    Broken,
    /// The heap is told to have no collections
    /// ([`Collection::Never`](crate::policy::Collection::Never)).
    Disabled,
    /// The global allocator has no memory for what was asked for: a heap, the calling thread's part in one, a queue.
    /// Nothing has happened.
    Memory,
    /// The caller holds 65,535 guards, and no more can be counted.
    TooManyGuards,
}

impl fmt::Display for HeapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeapError::TagInUse => "a heap with this tag is alive",
            HeapError::InsideGuard => "collect() was called inside a guard",
            HeapError::Broken => "a cycle of this heap ended in a panic",
            HeapError::Disabled => "this heap is told to have no collections",
            HeapError::Memory => "the global allocator has no memory for it",
            HeapError::TooManyGuards => "the task holds 65,535 guards of the heap",
        })
    }
}

impl error::Error for HeapError {}

impl From<Exhausted> for HeapError {
    fn from(_: Exhausted) -> Self {
        HeapError::Memory
    }
}
