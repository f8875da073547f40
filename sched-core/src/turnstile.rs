//! The turnstile: who comes in, how many are inside, and who notices that nobody is.
//!
//! # Problem
//!
//! A scheduler ends when its last goroutine has, provided that no other can be started: after a
//! shutdown, or when the last handle is gone. Goroutines end, handles are dropped and shutdowns begin
//! on different threads at the same time. Somebody must see that all of it has happened, and nobody may
//! believe it too early.
//!
//! # How
//!
//! ```text
//!   bit 63    62 … 0
//!    shut     inside
//! ```
//!
//! Each change of the word is a read-modify-write, so they have an order. A newcomer adds one if the turnstile
//! is open, a servant if it is open or somebody is inside. So *shut, and nobody inside* stays true once it is.
//! (A newcomer that added first and stepped back from one that was shut would be taken for somebody inside: by a
//! servant that came in that moment, after the end, and was served by nobody.)
//!
//! * *A closer* shuts, joins a list under a lock, and then reads the count there. Whoever leaves takes one
//!   off and then looks for a name under the lock. Either it finds one, or its section came before
//!   the closer's, whose reading then sees that it has left. Whoever reads the count reads it for all that
//!   are on the list ([`closers`](crate::closers)), so one of them is enough to be told. A closer that goes
//!   before it may reads it once more after it has left the list: it may have been the one who was told.
//! * *The last handle* is dropped before the word is shut ([`abandon`](Turnstile::abandon)). Whoever
//!   leaves after that finds the word shut and no handle; whoever left before is not in the count that is
//!   read after the shutting. So one of the two notices, or both: stopping twice is stopping.
//!
//! Model: `loom-tests/tests/sched_turnstile.rs`.

use core::fmt;

use crate::{
    closers::{Closer, Closers, Gone, Ticket},
    lock::Lock,
    sync::{AtomicUsize, Ordering},
};

const SHUT: usize = 1 << (usize::BITS - 1);

/// Counts who is inside and who holds a handle. `W` names those who wait for the end.
///
/// ```
/// use sched_core::closers::Closer;
/// use sched_core::turnstile::{Left, Turnstile};
///
/// let turnstile = Turnstile::<&str>::new();
/// assert!(turnstile.enter());
/// turnstile.shut();
/// let ticket = turnstile.expect(Closer::new("closer", false));
/// assert!(!turnstile.enter(), "it is shut");
/// assert_eq!(turnstile.leave(), Left::Shut { closer: Some("closer"), end: true });
/// turnstile.look().tell(|name| assert_eq!(*name, "closer"));
/// assert!(!turnstile.waits(ticket));
/// assert_eq!(turnstile.inside(), 0);
/// ```
pub struct Turnstile<W> {
    /// See the drawing. Changed by RMW only.
    word: AtomicUsize,
    /// Handles by which newcomers may be sent in.
    handles: AtomicUsize,
    closers: Lock<Closers<W>>,
}

/// What somebody who has left sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "somebody may wait to be told"]
pub enum Left<W> {
    /// Others may come in.
    Open,
    /// Nobody comes in any more.
    Shut {
        /// Whom to tell that one has left; it looks for all that wait.
        closer: Option<W>,
        /// Nobody is inside, and nobody has a handle: the caller sees to the end.
        end: bool,
    },
}

impl<W: Clone> Turnstile<W> {
    /// Open, nobody inside, no handle.
    pub fn new() -> Self {
        Turnstile {
            word: AtomicUsize::new(0),
            handles: AtomicUsize::new(0),
            closers: Lock::new(Closers::new()),
        }
    }

    /// Comes in, unless it is shut.
    #[must_use = "who was let in leaves"]
    pub fn enter(&self) -> bool {
        let is_open = |word: usize| (word & SHUT == 0).then(|| word + 1);
        // AcqRel: what was done before the entry comes before the end. Relaxed: a refusal looks at nothing else.
        self.word.fetch_update(Ordering::AcqRel, Ordering::Relaxed, is_open).is_ok()
    }

    /// Comes in as long as others are inside, though it may be shut.
    #[must_use = "who was let in leaves"]
    pub fn enter_to_serve(&self) -> bool {
        let serves = |word: usize| (word != SHUT).then(|| word + 1);
        // AcqRel, Relaxed: as in `enter`.
        self.word.fetch_update(Ordering::AcqRel, Ordering::Relaxed, serves).is_ok()
    }

    /// One who came in goes.
    pub fn leave(&self) -> Left<W> {
        // AcqRel: all that was done inside comes before the end; and the shutting, which comes after the
        // drop of the last handle, before the look below.
        let before = self.word.fetch_sub(1, Ordering::AcqRel);
        if before & SHUT == 0 { Left::Open } else { self.left_shut(before & !SHUT == 1) }
    }

    #[cold]
    fn left_shut(&self, last: bool) -> Left<W> {
        let closer = self.closers.lock().first();
        // Relaxed: ordered by the word's read-modify-writes, see `leave`.
        let end = last && self.handles.load(Ordering::Relaxed) == 0;
        Left::Shut { closer, end }
    }

    /// How many are inside.
    pub fn inside(&self) -> usize {
        // Acquire: pairs with the release in `leave`.
        self.word.load(Ordering::Acquire) & !SHUT
    }

    /// Lets nobody in any more.
    pub fn shut(&self) {
        // AcqRel: Release: the drop of the last handle, for those who leave later. Acquire: what those
        // did who have left.
        self.word.fetch_or(SHUT, Ordering::AcqRel);
    }

    /// Whether nobody is let in any more.
    pub fn is_shut(&self) -> bool {
        // Acquire: what was done before the shutting.
        self.word.load(Ordering::Acquire) & SHUT != 0
    }

    /// Puts one who waits on the list. It [looks](Self::look) after this, and whenever it is told.
    pub fn expect(&self, closer: Box<Closer<W>>) -> Ticket {
        self.closers.lock().push(closer)
    }

    /// Takes those off the list who need not wait any longer.
    pub fn look(&self) -> Gone<W> {
        let mut closers = self.closers.lock();
        closers.release(self.inside())
    }

    /// Whether it is on the list still.
    pub fn waits(&self, ticket: Ticket) -> bool {
        self.closers.lock().contain(ticket)
    }

    /// Takes one off the list that waits no longer, and looks in its place.
    pub fn forget(&self, ticket: Ticket) -> Gone<W> {
        let mut closers = self.closers.lock();
        closers.forget(ticket, self.inside())
    }

    /// One handle more.
    pub fn hold(&self) {
        // Relaxed: a new handle comes from one that exists, or from somebody inside.
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// One handle less. After the last one it is shut; true if nobody is inside: the caller sees to the
    /// end.
    pub fn abandon(&self) -> bool {
        // AcqRel: the last handle sees what was done through all others.
        if self.handles.fetch_sub(1, Ordering::AcqRel) != 1 {
            return false;
        }
        self.shut();
        self.inside() == 0
    }
}

impl<W: Clone> Default for Turnstile<W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W> fmt::Debug for Turnstile<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Relaxed, both: for the eye only.
        let word = self.word.load(Ordering::Relaxed);
        f.debug_struct("Turnstile")
            .field("shut", &(word & SHUT != 0))
            .field("inside", &(word & !SHUT))
            .field("handles", &self.handles.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_leave_sees_that_no_handle_is_left() {
        let turnstile = Turnstile::<()>::new();
        turnstile.hold();
        turnstile.hold();
        assert!(turnstile.enter() && turnstile.enter());
        assert!(!turnstile.abandon(), "a handle is left");
        assert!(!turnstile.abandon(), "two are inside");
        assert_eq!(turnstile.leave(), Left::Shut { closer: None, end: false });
        assert!(turnstile.enter_to_serve(), "somebody is inside");
        assert_eq!(turnstile.leave(), Left::Shut { closer: None, end: false });
        assert_eq!(turnstile.leave(), Left::Shut { closer: None, end: true });
        assert!(!turnstile.enter_to_serve(), "nobody is left to be served");
    }

    #[test]
    fn an_empty_one_ends_with_its_last_handle() {
        let turnstile = Turnstile::<()>::new();
        turnstile.hold();
        assert!(turnstile.enter());
        assert_eq!(turnstile.leave(), Left::Open);
        assert!(turnstile.abandon());
    }
}
