//! What a dump may tell of a goroutine: who it is, where it came from, why it waits and since when.
//!
//! # Problem
//!
//! A dump walks over all G records while goroutines come, go and move on: nobody stops for it, and
//! no lock protects a record. Records are recycled, so what is read of one may come from two lives
//! of it: the number of the goroutine that was, the origin of the one that is.
//!
//! # How
//!
//! The number is the version of the rest, as in a seqlock: numbers are never used again, and 0 means
//! that the record is between two lives. The reader takes what it read only if the number was the
//! same, and not 0, before and after.
//!
//! ```text
//!   begin:  number = 0;  fence Release;  origin = …;  number = n (Release)
//!   read:   number (Acquire);  origin, state, …;  fence Acquire;  number again
//! ```
//!
//! Suppose the reader saw any store of the second life. That store follows the writer's fence, and
//! the reader's fence follows the load: so the second look at the number finds 0 or something later.
//! Model: `loom-tests/tests/sched_about.rs`.
//!
//! Why it waits is written at each park, and is no part of the version: it is read as a hint, and
//! means something only while the state says *parked*.
//!
//! # Since when
//!
//! Reading a clock at each park would cost as much as a third of a switch. The P notes when its slice
//! began; a goroutine that parks copies that. So a wait seems longer than it is by at most what
//! remained unused of a slice. (Go notes nothing at a park and lets the collector find out who waits:
//! its times are in minutes.)

use core::panic::Location;

use crate::sync::{AtomicPtr, AtomicU8, AtomicU64, Ordering, const_unless_loom, fence};

/// No reason to wait.
const NOT_WAITING: u8 = u8::MAX;

/// What a dump may tell of a goroutine. See the [module](self).
#[derive(Debug)]
pub struct About {
    /// The goroutine's number; 0 between two lives.
    id: AtomicU64,
    /// The number of the goroutine that started it; 0 if none did.
    creator: AtomicU64,
    origin: AtomicPtr<Location<'static>>,
    /// When the last wait began, in ticks of the embedding's clock.
    since: AtomicU64,
    reason: AtomicU8,
}

/// What does not change while a goroutine lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    /// Its number, never 0.
    pub id: u64,
    /// The number of the goroutine that started it; 0 if none did.
    pub creator: u64,
    /// Where in the source it was started.
    pub origin: &'static Location<'static>,
}

/// Why a goroutine waits, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The number of the reason.
    pub reason: u8,
    /// When it began, in ticks.
    pub since: u64,
}

impl About {
    const_unless_loom! {
        /// Of a record that nobody has used yet.
        pub const fn new() -> Self {
            Self {
                id: AtomicU64::new(0),
                creator: AtomicU64::new(0),
                origin: AtomicPtr::new(core::ptr::null_mut()),
                since: AtomicU64::new(0),
                reason: AtomicU8::new(NOT_WAITING),
            }
        }
    }

    /// A new life of the record, which is the caller's alone but for dumps. `reset` puts back what
    /// else of it a dump reads.
    #[inline]
    pub fn begin(&self, birth: Birth, reset: impl FnOnce()) {
        // Relaxed: ordered by the fence.
        self.id.store(0, Ordering::Relaxed);
        // Release: whoever sees one of the stores below, and fences, sees the 0 above.
        fence(Ordering::Release);
        let origin = core::ptr::from_ref(birth.origin).cast_mut();
        // Relaxed, all: published by the number.
        self.creator.store(birth.creator, Ordering::Relaxed);
        self.origin.store(origin, Ordering::Relaxed);
        self.reason.store(NOT_WAITING, Ordering::Relaxed);
        reset();
        // Release: what a dump reads belongs to this number; pairs with the Acquire in `read`.
        self.id.store(birth.id, Ordering::Release);
    }

    /// The record is between two lives: it has no number.
    #[inline]
    pub fn end(&self) {
        // Release: what the life wrote comes before its end; pairs with the Acquire fence in `read`.
        self.id.store(0, Ordering::Release);
    }

    /// The goroutine's number. For those who hold a reference to it.
    #[inline]
    pub fn id(&self) -> u64 {
        // Relaxed: written before the record was handed out to whoever asks.
        self.id.load(Ordering::Relaxed)
    }

    /// Where the goroutine was started. For those who hold a reference to it.
    pub fn origin(&self) -> Option<&'static Location<'static>> {
        // Relaxed: as in `id`.
        // SAFETY: null, or from a `&'static` in `begin`.
        unsafe { self.origin.load(Ordering::Relaxed).as_ref() }
    }

    /// The number of the goroutine that started it; `None` if none did. For those who hold a reference
    /// to it.
    pub fn creator(&self) -> Option<u64> {
        // Relaxed: as in `id`.
        Some(self.creator.load(Ordering::Relaxed)).filter(|&creator| creator != 0)
    }

    /// The goroutine is about to wait.
    #[inline]
    pub fn wait(&self, wait: Wait) {
        // Relaxed, both: hints.
        self.since.store(wait.since, Ordering::Relaxed);
        self.reason.store(wait.reason, Ordering::Relaxed);
    }

    /// The goroutine goes on.
    #[inline]
    pub fn go_on(&self) {
        // Relaxed: a hint.
        self.reason.store(NOT_WAITING, Ordering::Relaxed);
    }

    /// What can be told of the record's goroutine, and what `look` saw in the same life. `None` if
    /// there is none, or it changed meanwhile.
    pub fn read<T>(&self, look: impl FnOnce() -> T) -> Option<(Birth, Option<Wait>, T)> {
        // Acquire: what was written for this number; pairs with the Release in `begin`.
        let id = self.id.load(Ordering::Acquire);
        // Relaxed, all: the number tells whether they belong together.
        let creator = self.creator.load(Ordering::Relaxed);
        let origin = self.origin();
        let reason = self.reason.load(Ordering::Relaxed);
        let since = self.since.load(Ordering::Relaxed);
        let seen = look();
        // Acquire: if anything above is of a later life, the look below is not older than it.
        fence(Ordering::Acquire);
        // Relaxed: ordered by the fence.
        if id == 0 || self.id.load(Ordering::Relaxed) != id {
            return None;
        }
        let wait = (reason != NOT_WAITING).then_some(Wait { reason, since });
        Some((Birth { id, creator, origin: origin? }, wait, seen))
    }
}

impl Default for About {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn birth(id: u64) -> Birth {
        Birth { id, creator: id / 2, origin: Location::caller() }
    }

    #[test]
    fn an_unused_record_tells_nothing() {
        assert_eq!(About::new().read(|| ()), None);
    }

    #[test]
    fn a_wait_belongs_to_one_life() {
        let about = About::new();
        let first = birth(6);
        about.begin(first, || ());
        let wait = Wait { reason: 3, since: 99 };
        about.wait(wait);
        assert_eq!(about.read(|| 'x'), Some((first, Some(wait), 'x')));
        about.go_on();
        assert_eq!(about.read(|| ()), Some((first, None, ())));
        about.wait(wait);
        let second = birth(8);
        about.begin(second, || ());
        assert_eq!(about.read(|| ()), Some((second, None, ())));
    }

    #[test]
    fn a_life_that_ends_under_the_reader_is_not_told() {
        let about = About::new();
        about.begin(birth(6), || ());
        assert_eq!(about.read(|| about.begin(birth(8), || ())), None);
    }
}
