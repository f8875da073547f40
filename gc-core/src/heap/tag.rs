//! [`Tag`]: which heap a pointer belongs to, and what the heap is made of.

use crate::{space::Space, world::World};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a tag's heap is alive. One `static` per tag.
#[derive(Debug)]
pub struct Claim(AtomicBool);

impl Claim {
    /// Nobody's yet.
    #[expect(clippy::new_without_default, reason = "a claim is a static, never a default value")]
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn take(&self) -> bool {
        // AcqRel: the former heap's end is before the new one's begin; pairs with `release`.
        !self.0.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn release(&self) {
        // Release: as above.
        self.0.store(false, Ordering::Release);
    }
}

/// Names a heap, and bundles its parts. [`tag!`](crate::tag) makes one.
///
/// # Safety
///
/// `claim` returns the same claim every time, and no other tag returns it.
///
/// ```
/// use gc_core::{Claim, Heap, Tag, space::blocks::Blocks, world::threads::Threads};
///
/// struct Parser;
///
/// // SAFETY: the claim is a static of its own.
/// unsafe impl Tag for Parser {
///     type Space = Blocks;
///     type World = Threads;
///
///     fn claim() -> &'static Claim {
///         static CLAIM: Claim = Claim::new();
///         &CLAIM
///     }
/// }
///
/// let heap = Heap::<Parser>::builder().build(Blocks::new(), Threads::new()).unwrap();
/// assert_eq!(*heap.enter().alloc(7u64), 7);
/// ```
pub unsafe trait Tag: Sized + Send + Sync + 'static {
    /// Where objects lie.
    type Space: Space;
    /// Who mutates.
    type World: World<Self::Space>;

    /// Whether the tag's heap is alive.
    fn claim() -> &'static Claim;
}

/// Declares a [`Tag`] for a heap of plain threads with memory from `malloc`.
///
/// ```
/// use gc_core::{Heap, HeapError};
///
/// gc_core::tag! {
///     /// The heap of the parser.
///     pub struct Parser;
/// }
///
/// let heap = Heap::<Parser>::new().unwrap();
/// assert_eq!(Heap::<Parser>::new().unwrap_err(), HeapError::TagInUse);
/// drop(heap);
/// Heap::<Parser>::new().unwrap();
/// ```
#[macro_export]
macro_rules! tag {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident;) => {
        $(#[$meta])*
        #[derive(Debug)]
        $visibility struct $name;

        // SAFETY: the claim is a static of its own, declared here.
        unsafe impl $crate::Tag for $name {
            type Space = $crate::space::blocks::Blocks;
            type World = $crate::world::threads::Threads;

            fn claim() -> &'static $crate::Claim {
                static CLAIM: $crate::Claim = $crate::Claim::new();
                &CLAIM
            }
        }
    };
}

tag! {
    /// The tag of programs with one heap of plain threads: what `Gc<'g, T>` means when no tag
    /// is named.
    pub struct Plain;
}
