//! Who is told when a plain thread falls asleep.
//!
//! # Problem
//!
//! Whether all wait for ever ([`lull`](crate::lull)) cannot be said while a thread is awake that may wake somebody. It
//! may fall asleep, or end, an hour later, and no P moves when it does. Who has asked in vain must not ask again and
//! again, as an idle process is to sleep. So it *keeps vigil*, and is told.
//!
//! # Algorithm
//!
//! ```text
//! watcher                             thread
//!   W1  kept; one vigil more            T1  its word says that it sleeps
//!   W2  fence                           T2  fence
//!   W3  asks                            T3  any vigil? ends those that are kept, wakes who kept them
//! ```
//!
//! Either W2 comes before T2, and then T3 finds the vigil. Or T2 comes before W2, and then W3 sees that the thread
//! sleeps.
//!
//! Model: `loom-tests/tests/sched_lull.rs`.

use crate::sync::{AtomicBool, AtomicUsize, Ordering, const_unless_loom, fence};

/// Whether one thread keeps vigil.
#[derive(Debug, Default)]
pub struct Vigil(AtomicBool);

/// How many do: what a thread that falls asleep looks at.
///
/// ```
/// use sched_core::vigil::{Vigil, Vigils};
///
/// let (vigils, vigil) = (Vigils::new(), Vigil::new());
/// assert!(!vigils.any());
/// vigils.begin(&vigil);
/// assert!(vigils.any() && vigils.end(&vigil), "whoever ends it wakes its keeper");
/// assert!(!vigil.is_kept() && !vigils.end(&vigil));
/// ```
#[derive(Debug, Default)]
pub struct Vigils(AtomicUsize);

impl Vigil {
    const_unless_loom! {
        /// It does not.
        pub const fn new() -> Self {
            Self(AtomicBool::new(false))
        }
    }

    /// Whether nobody has ended it.
    pub fn is_kept(&self) -> bool {
        // Relaxed: whoever ends it wakes its keeper after that.
        self.0.load(Ordering::Relaxed)
    }
}

impl Vigils {
    const_unless_loom! {
        /// None.
        pub const fn new() -> Self {
            Self(AtomicUsize::new(0))
        }
    }

    /// `vigil` is kept from now on, if it was not before. Its keeper asks after this.
    pub fn begin(&self, vigil: &Vigil) {
        // Relaxed, all: ordered by the fence. The count first, which `end` lowers.
        self.0.fetch_add(1, Ordering::Relaxed);
        if vigil.0.swap(true, Ordering::Relaxed) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
        // SeqCst: (W2) the vigil is there before its keeper asks; partner: the fence in `any`.
        fence(Ordering::SeqCst);
    }

    /// Ends `vigil`; true if it was kept.
    pub fn end(&self, vigil: &Vigil) -> bool {
        // Relaxed, both: of several who end it one has it, and nothing is read on the strength of it.
        let kept = vigil.0.swap(false, Ordering::Relaxed);
        if kept {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
        kept
    }

    /// Whether anybody keeps vigil. For a thread that has said that it sleeps.
    pub fn any(&self) -> bool {
        // SeqCst: (T2) the thread's word comes before this looks; partner: the fence in `begin`.
        fence(Ordering::SeqCst);
        // Relaxed: ordered by the fence.
        self.0.load(Ordering::Relaxed) != 0
    }
}
