//! Thread mode: a context is a kernel thread that waits for its baton.
//!
//! One word: 0, or 1 for "the baton is here". Only the owner takes it, only whoever runs the M's
//! role gives it, and never twice without a taking between. Posting before the owner waits is
//! fine, and happens: the poster does not know how far the owner has come.

use core::sync::atomic::{AtomicI32, Ordering};

use crate::sync::Futex;

const AWAY: u32 = 0;
const HERE: u32 = 1;

/// A kernel thread, and the clock of the processor time it has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadId {
    tid: i32,
    clock: i32,
}

impl ThreadId {
    /// The calling thread. In a goroutine with own TLS libc cannot say which clock is the
    /// thread's: call it on an M's own stack.
    pub fn current() -> ThreadId {
        let mut clock = 0;
        // SAFETY: the calling thread is alive; `clock` is ours.
        let tid = unsafe {
            libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock);
            libc::gettid()
        };
        ThreadId { tid, clock }
    }

    /// Both numbers in one word.
    pub(crate) fn pack(self) -> u64 {
        u64::from(self.tid.cast_unsigned()) << 32 | u64::from(self.clock.cast_unsigned())
    }

    /// The inverse of [`pack`](Self::pack).
    pub(crate) fn unpack(word: u64) -> ThreadId {
        ThreadId { tid: (word >> 32) as i32, clock: word as i32 }
    }

    /// The kernel's number for it.
    pub fn tid(self) -> i32 {
        self.tid
    }

    /// For `clock_gettime`, from any thread of the process.
    pub fn clock(self) -> libc::clockid_t {
        self.clock
    }
}

/// Where a thread waits for its turn, and which thread that is.
pub(super) struct Baton {
    state: Futex,
    /// Written once, by the thread, before anyone can switch to it. 0: no thread of its own.
    tid: AtomicI32,
    clock: AtomicI32,
}

impl Baton {
    pub(super) fn of_no_thread() -> Baton {
        Baton { state: Futex::new(AWAY), tid: AtomicI32::new(0), clock: AtomicI32::new(0) }
    }

    pub(super) fn of_this_thread() -> Baton {
        let baton = Baton::of_no_thread();
        baton.adopt();
        baton
    }

    pub(super) fn adopt(&self) {
        let ThreadId { tid, clock } = ThreadId::current();
        self.clock.store(clock, Ordering::Relaxed);
        // Release: publishes the clock; pairs with the Acquire load in `thread`.
        self.tid.store(tid, Ordering::Release);
    }

    /// The thread is about to end: its number may soon be another's.
    pub(super) fn forget(&self) {
        // Relaxed: nothing is told by it.
        self.tid.store(0, Ordering::Relaxed);
    }

    pub(super) fn thread(&self) -> Option<ThreadId> {
        // Acquire: the clock written before it; pairs with the Release store in `adopt`.
        let tid = self.tid.load(Ordering::Acquire);
        // Relaxed: ordered by the load above.
        (tid != 0).then(|| ThreadId { tid, clock: self.clock.load(Ordering::Relaxed) })
    }

    pub(super) fn post(&self) {
        // Release: all that was done in the M's role so far happens before what the next thread
        // does in it; pairs with the Acquire in `wait`.
        let before = self.state.word().swap(HERE, Ordering::Release);
        debug_assert_eq!(before, AWAY, "two switches to one context");
        self.state.wake(1);
    }

    pub(super) fn wait(&self) {
        // Acquire: pairs with the Release in `post`.
        while self.state.word().swap(AWAY, Ordering::Acquire) == AWAY {
            self.state.wait(AWAY, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Baton;

    #[test]
    fn a_baton_posted_early_is_kept() {
        let baton = Baton::of_no_thread();
        baton.post();
        baton.wait();
    }

    #[test]
    fn a_baton_wakes_who_waits() {
        let baton = Baton::of_no_thread();
        std::thread::scope(|scope| {
            scope.spawn(|| baton.wait());
            baton.post();
        });
    }
}
