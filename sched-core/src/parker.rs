//! Where an M sleeps: one permit, and a futex.
//!
//! # Problem
//!
//! An M that has put itself on the idle list is not asleep yet; whoever takes it from the list may
//! wake it first. A wake before the sleep must count.
//!
//! # Algorithm
//!
//! One word: *empty*, *permit*, *asleep*. The sleeper takes a permit or announces that it sleeps, by
//! one RMW; the waker leaves a permit by one RMW, and calls the kernel only if it found *asleep*.
//! Either the permit comes first and the sleeper finds it, or the announcement does and the waker
//! finds that.
//!
//! What the M is to do (the P it gets, whether it spins) is written before
//! [`unpark`](Parker::unpark) and read after [`park`](Parker::park).
//!
//! # Source
//!
//! Go's `note` and `semasleep` (`lock_futex.go`), `std::thread::park`.
//! Model: `loom-tests/tests/sched_park.rs`.

use crate::sync::{Futex, Ordering, const_unless_loom};

const EMPTY: u32 = 0;
const PERMIT: u32 = 1;
const ASLEEP: u32 = 2;

/// One thread's place to sleep.
///
/// ```
/// use sched_core::parker::Parker;
///
/// let parker = Parker::new();
/// parker.unpark();
/// parker.park(); // the permit is there: returns at once, and takes it
/// std::thread::scope(|scope| {
///     scope.spawn(|| parker.unpark());
///     parker.park();
/// });
/// ```
#[derive(Debug)]
pub struct Parker {
    word: Futex,
}

/// Why [`Parker::park_until`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Woken {
    /// It took a permit.
    Unparked,
    /// The deadline has passed; no permit was there.
    Timeout,
}

impl Parker {
    const_unless_loom! {
        /// No permit, nobody asleep.
        pub const fn new() -> Self {
            Self { word: Futex::new(EMPTY) }
        }
    }

    /// Sleeps until there is a permit, and takes it. One thread at a time may call this.
    pub fn park(&self) {
        self.park_and(|| ());
    }

    /// As [`park`](Self::park); `tell` is called before it sleeps, when others can see that it does.
    pub fn park_and(&self, tell: impl FnOnce()) {
        let woken = self.sleep(None, tell);
        debug_assert_eq!(woken, Woken::Unparked);
    }

    /// As [`park`](Self::park), until `deadline` at most (see [`crate::sync::now`]).
    pub fn park_until(&self, deadline: u64) -> Woken {
        self.sleep(Some(deadline), || ())
    }

    fn sleep(&self, deadline: Option<u64>, tell: impl FnOnce()) -> Woken {
        if self.announce() {
            return Woken::Unparked;
        }
        tell();
        loop {
            self.word.wait(ASLEEP, deadline);
            if self.take_permit() {
                return Woken::Unparked;
            }
            if deadline.is_some_and(|at| crate::sync::now() >= at) {
                return self.withdraw();
            }
        }
    }

    /// Says that this thread sleeps. True if it took a permit instead.
    fn announce(&self) -> bool {
        // AcqRel: Acquire: what the waker did before it left the permit.
        let before = self.word.word().fetch_add(ASLEEP, Ordering::AcqRel);
        debug_assert!(before <= PERMIT, "two threads park in one place");
        if before == PERMIT {
            // AcqRel: as above. Wakers change nothing that is not empty or asleep, so it is ours.
            self.word.word().swap(EMPTY, Ordering::AcqRel);
        }
        before == PERMIT
    }

    fn take_permit(&self) -> bool {
        // AcqRel: Acquire: what the waker did before it left the permit.
        self.word
            .word()
            .compare_exchange(PERMIT, EMPTY, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// The deadline has passed: stops sleeping, unless a permit came at the last moment.
    fn withdraw(&self) -> Woken {
        // AcqRel: as in `take_permit`.
        match self.word.word().swap(EMPTY, Ordering::AcqRel) {
            PERMIT => Woken::Unparked,
            _ => Woken::Timeout,
        }
    }

    /// Whether a thread sleeps here, and nobody has woken it.
    pub fn is_asleep(&self) -> bool {
        // Acquire: what the sleeper did before; pairs with `announce`.
        self.word.word().load(Ordering::Acquire) == ASLEEP
    }

    /// Leaves a permit, and wakes the thread that sleeps here. A second permit is lost in the first.
    pub fn unpark(&self) {
        // AcqRel: Release: what the caller did before, for the one that takes the permit.
        if self.word.word().swap(PERMIT, Ordering::AcqRel) == ASLEEP {
            self.word.wake(1);
        }
    }
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn two_permits_are_one() {
        let parker = Parker::new();
        parker.unpark();
        parker.unpark();
        parker.park();
        assert_eq!(parker.park_until(crate::sync::now()), Woken::Timeout);
    }

    #[test]
    fn a_timeout_leaves_the_place_empty() {
        let parker = Parker::new();
        assert_eq!(parker.park_until(crate::sync::now() + 1_000), Woken::Timeout);
        parker.unpark();
        assert_eq!(parker.park_until(crate::sync::now()), Woken::Unparked);
    }

    #[test]
    fn every_unpark_of_a_ping_pong_arrives() {
        const TURNS: usize = 2_000;
        let (ping, pong) = (Parker::new(), Parker::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..TURNS).for_each(|_| {
                    ping.park();
                    pong.unpark();
                })
            });
            (0..TURNS).for_each(|_| {
                ping.unpark();
                pong.park();
            });
        });
        assert_eq!(ping.park_until(0), Woken::Timeout);
    }
}
