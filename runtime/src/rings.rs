//! [`Rings`]: a bell that a signal handler can ring, and those who sleep beside it.
//!
//! # Problem
//!
//! A handler may have interrupted anything, so all it can do is to change a word and to wake who sleeps on it.
//! None who listens may miss a ring that comes while it is on its way to sleep, or busy with the last one; and each
//! can be told to end, beside others who listen on.
//!
//! # How
//!
//! ```text
//!   handler: word += RING; wake all            end of a listener: ended = true; word += END; wake all
//!   listener: read the word; ended? → over;  rings differ from the last ones? → heard;  else sleep
//!             while the word is as read
//! ```
//!
//! The kernel compares and falls asleep in one step, so whatever changes the word after it was read is seen.
//! Rings that come while one is being answered are one ring more.
//!
//! Model: `loom-tests/tests/runtime_rings.rs`.

use sched_core::sync::{AtomicBool, Futex, Ordering, const_unless_loom};

/// A ring. In the lower half of the word, of which listeners look at nothing else.
const RING: u32 = 1;
const RINGS: u32 = END - 1;
/// A listener ends.
const END: u32 = 1 << 16;

/// A bell with any number of listeners.
#[derive(Debug)]
pub struct Rings(Futex);

/// One who answers rings, until it is told to end.
///
/// ```
/// use runtime::rings::{Listener, Rings};
///
/// static BELL: Rings = Rings::new();
/// let listener = Listener::new(&BELL);
/// BELL.ring(); // not missed, though nobody listens yet
/// let mut heard = 0;
/// listener.listen(|| {
///     heard += 1;
///     listener.end();
/// });
/// assert_eq!(heard, 1);
/// ```
#[derive(Debug)]
pub struct Listener<'a> {
    rings: &'a Rings,
    /// What the word said when it was made.
    first: u32,
    ended: AtomicBool,
}

impl Rings {
    const_unless_loom! {
        /// Not rung yet.
        pub const fn new() -> Self {
            Rings(Futex::new(0))
        }
    }

    /// Rings. It may be called in a signal handler.
    pub fn ring(&self) {
        self.change(RING);
    }

    fn word(&self) -> u32 {
        // Acquire: what was done before the ring or the end; pairs with the Release in `change`.
        self.0.word().load(Ordering::Acquire)
    }

    /// Adds to the word and wakes all.
    fn change(&self, by: u32) {
        // Release: what was done before; pairs with the Acquire in `word`.
        self.0.word().fetch_add(by, Ordering::Release);
        self.0.wake(u32::MAX);
    }
}

impl Default for Rings {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Listener<'a> {
    /// Hears all rings from now on.
    pub fn new(rings: &'a Rings) -> Self {
        Listener { rings, first: rings.word(), ended: AtomicBool::new(false) }
    }

    /// Calls `answer` after each ring, or after several, until it is told to [end](Self::end).
    pub fn listen(&self, mut answer: impl FnMut()) {
        let mut heard = self.first;
        loop {
            let word = self.rings.word();
            // Relaxed: ordered by the word.
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            if (word ^ heard) & RINGS != 0 {
                heard = word;
                answer();
            } else {
                self.rings.0.wait(word, None);
            }
        }
    }

    /// Ends [`listen`](Self::listen), after an answer that has begun.
    pub fn end(&self) {
        // Relaxed: ordered by the word.
        self.ended.store(true, Ordering::Relaxed);
        self.rings.change(END);
    }
}
