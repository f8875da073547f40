//! What differs between a machine and a model of it: the only file that names loom.
//!
//! | here | machine | model (`--cfg loom`) |
//! |---|---|---|
//! | atomics, [`fence`] | the standard library's | loom's, which explores stale reads |
//! | [`Futex`] | `futex(2)` | a mutex and a condition variable; time never passes |
//!
//! The wiring is crossbeam's: loom is a dependency only under the cfg, and the models live in a
//! crate of their own.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, Ordering, fence};

use std::time::Duration;

/// A word that a thread can sleep on: `futex(2)`, private to the process.
#[derive(Debug)]
pub(crate) struct Futex {
    word: AtomicU32,
    #[cfg(loom)]
    gate: loom::sync::Mutex<()>,
    #[cfg(loom)]
    sleepers: loom::sync::Condvar,
}

impl Futex {
    /// A word that holds `value`.
    #[cfg(not(loom))]
    pub(crate) const fn new(value: u32) -> Self {
        Self { word: AtomicU32::new(value) }
    }

    /// A word that holds `value`; loom's atomics are made at run time.
    #[cfg(loom)]
    pub(crate) fn new(value: u32) -> Self {
        Self {
            word: AtomicU32::new(value),
            gate: loom::sync::Mutex::new(()),
            sleepers: loom::sync::Condvar::new(),
        }
    }

    /// The word itself.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Sleeps while the word holds `expected`, for `time` at most; may return early. To compare
    /// and to fall asleep are one step.
    #[cfg(not(loom))]
    pub(crate) fn wait(&self, expected: u32, time: Option<Duration>) {
        let time = time.map(|time| libc::timespec {
            tv_sec: time.as_secs().min(i32::MAX as u64) as libc::time_t,
            tv_nsec: time.subsec_nanos() as libc::c_long,
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the word lives through the call (it is borrowed), `time` is null or points to a
        // timespec of this frame, and the kernel only reads both.
        unsafe { libc::syscall(libc::SYS_futex, self.word.as_ptr(), operation, expected, time) };
    }

    /// Wakes one sleeper.
    #[cfg(not(loom))]
    pub(crate) fn wake(&self) {
        let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the kernel uses the address of a live word as a name and does not write to it.
        unsafe { libc::syscall(libc::SYS_futex, self.word.as_ptr(), operation, 1) };
    }

    /// The model's sleep: the kernel compares and queues under one lock, and so does the gate.
    #[cfg(loom)]
    pub(crate) fn wait(&self, expected: u32, _: Option<Duration>) {
        let gate = self.gate.lock().expect("no model panics inside the gate");
        if self.word.load(Ordering::SeqCst) == expected {
            drop(self.sleepers.wait(gate));
        }
    }

    /// The model's wake.
    #[cfg(loom)]
    pub(crate) fn wake(&self) {
        let _gate = self.gate.lock().expect("no model panics inside the gate");
        self.sleepers.notify_one();
    }
}
