//! [`Helpers`]: how many help to mark, and no more than may.
//!
//! Who recruits helpers knows how many processors may be spared, which changes while helpers are at work.
//! So the most is asked at each call and not kept: when it falls, those who are too many finish their
//! round, and nobody new comes before there is a place.
//!
//! One word, changed by compare-and-swap: a look at the number and a step up in two would let in two for
//! one place. It decides who helps, never what is marked; what helpers do is ordered by the
//! [crew](super::crew)'s lock. Model: `loom-tests/tests/gc_helpers.rs`.

use crate::sync::{AtomicUsize, Ordering};

/// A count of helpers. The essay of its file says how.
///
/// ```
/// use gc_core::mark::Helpers;
///
/// let helpers = Helpers::new();
/// assert!(helpers.come(1) && !helpers.come(1));
/// assert!(helpers.come(2), "a second place");
/// helpers.go();
/// assert!(!helpers.come(1), "one too many is still there");
/// helpers.go();
/// assert!(helpers.come(1));
/// ```
#[derive(Debug, Default)]
pub struct Helpers(AtomicUsize);

impl Helpers {
    /// Nobody.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Nobody.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// One more, if that is not more than `most`. Who comes [goes](Self::go), once.
    #[must_use = "who comes goes"]
    pub fn come(&self, most: usize) -> bool {
        let one_more = |count| (count < most).then_some(count + 1);
        // Relaxed: a number, and one word; see the module.
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// One less.
    pub fn go(&self) {
        // Relaxed: as above.
        let count = self.0.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(count > 0, "somebody goes who has not come");
    }
}
