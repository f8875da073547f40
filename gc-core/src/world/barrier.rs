//! The two sides of the barrier between guards and handshakes, one of them cheap where the kernel helps.
//!
//! A guard stores its entry and then looks at the epoch a second time: store, then load, which only a
//! full fence orders, and a full fence is most of what a guard costs. A handshake is rare. So where
//! Linux has `membarrier(2)`, the guard's side tells the compiler alone, and the handshake asks the
//! kernel to fence every thread of the process that runs right now (one that does not run has been
//! fenced by the switch). Elsewhere both sides fence.
//!
//! Which of the two it is, is settled by the [`probe`](Barrier::probe), before any guard is entered,
//! and stays: a light side that relies on the kernel would not be seen by a heavy one that does not.
//!
//! In a model both sides are `fence(SeqCst)`, which is the same promise.
//!
//! # Source
//!
//! As seize's `membarrier` module, and as sched-core's entry protocol; that one may change its mind
//! once, from fence to kernel, since its takers begin after the probe. A collection may begin before.

use crate::sync::{Ordering, fence};

/// Whether the kernel fences for us. The essay of its file says how.
///
/// ```
/// use gc_core::world::Barrier;
///
/// let barrier = Barrier::probe();
/// barrier.light(); // a guard
/// barrier.heavy(); // a handshake
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Barrier {
    /// `membarrier(2)`: nothing for the light side, half a microsecond for the heavy one.
    Kernel,
    /// `fence(SeqCst)` on both.
    Fence,
}

impl Barrier {
    /// Registers the process with the kernel; [`Fence`](Self::Fence) where it or a sandbox refuses.
    pub fn probe() -> Self {
        if membarrier::register() { Self::Kernel } else { Self::Fence }
    }

    /// The guard's side.
    #[inline(always)]
    pub fn light(self) {
        match self {
            // SeqCst: keeps the compiler from exchanging the guard's store and load; the partner,
            // `heavy`, sees to the processor.
            Self::Kernel => core::sync::atomic::compiler_fence(Ordering::SeqCst),
            // SeqCst: store, then load, of two words; the partner is the fence in `heavy`.
            Self::Fence => fence(Ordering::SeqCst),
        }
    }

    /// The handshake's side.
    pub fn heavy(self) {
        // SeqCst: the other half of the same handshake; for the kernel's variant it orders this
        // thread, and the compiler, around the call.
        fence(Ordering::SeqCst);
        if self == Self::Kernel {
            membarrier::all();
            // SeqCst: as above.
            fence(Ordering::SeqCst);
        }
    }
}

#[cfg(all(target_os = "linux", not(loom)))]
mod membarrier {
    pub(super) fn register() -> bool {
        call(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
    }

    pub(super) fn all() {
        let done = call(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
        assert!(done, "a registered process is fenced, the kernel promises");
    }

    fn call(command: libc::c_int) -> bool {
        // SAFETY: membarrier takes three integers and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }
}

#[cfg(not(all(target_os = "linux", not(loom))))]
mod membarrier {
    pub(super) fn register() -> bool {
        false
    }

    pub(super) fn all() {}
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    /// Store, barrier, load on both sides: never do both miss the other's store.
    #[test]
    fn one_side_sees_the_other() {
        let barrier = Barrier::probe();
        for _ in 0..2_000 {
            let (guard, epoch) = (AtomicBool::new(false), AtomicBool::new(false));
            let (seen, missed) = std::thread::scope(|scope| {
                let light = scope.spawn(|| {
                    // Relaxed: the barrier is what is tested.
                    guard.store(true, Ordering::Relaxed);
                    barrier.light();
                    epoch.load(Ordering::Relaxed)
                });
                epoch.store(true, Ordering::Relaxed);
                barrier.heavy();
                (guard.load(Ordering::Relaxed), !light.join().unwrap())
            });
            assert!(seen || !missed, "both sides missed each other");
        }
    }
}
