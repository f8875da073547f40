//! Takes the processor of a worker that blocked in the kernel without telling anyone.
//!
//! The rule, per worker that holds a processor:
//!
//! 1. The same task as at the look before, and the thread's clock did not move: suspicious.
//! 2. Ask the kernel, once per standstill. Asleep (`S`, `D`): take. Runnable: leave it alone; it
//!    waits for a core, and giving its processor to another thread would make one more wait.
//! 3. The kernel cannot be asked: take after [`Limits::blind_standstill`] of standing clock.
//!
//! The machine decides last: it refuses if the worker moved meanwhile or is inside the scheduler.
//! A refusal, like `Runnable`, holds until the clock moves, as the essay of [`Sight`] says.
//!
//! Processors are taken whether or not a task waits. With none waiting the looks are up to 10 ms
//! apart, so nothing is gained by haste; but a processor that was taken is idle, a task that
//! becomes ready finds it without the monitor's help, and once all are idle the monitor can sleep.
//! Go does the same for a P that has been in a system call for 10 ms.

use crate::limits::Limits;
use crate::machine::{KernelState, Machine};
use crate::sight::{Motion, Sight, Sights};

/// The duty that frees processors of blocked workers. See the [module's example](crate::duty#example).
#[derive(Debug, Clone, Copy)]
pub struct Retake {
    limits: Limits,
}

enum Verdict {
    /// Not blocked, or not known to be.
    Leave,
    /// The same as `Leave`, for the whole of this standstill.
    Settled,
    Blocked,
}

impl Retake {
    /// The rule with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Judges all workers; returns how many processors were taken.
    pub fn look(&mut self, sights: &mut Sights, machine: &mut impl Machine) -> usize {
        let mut taken = 0;
        for sight in sights.iter_mut().filter(|sight| sight.worker.holds && !sight.settled) {
            match self.judge(sight, machine) {
                Verdict::Leave => {}
                Verdict::Settled => sight.settled = true,
                Verdict::Blocked => {
                    sight.settled = true;
                    taken += usize::from(machine.take(&sight.worker));
                }
            }
        }
        taken
    }

    fn judge(&self, sight: &Sight, machine: &mut impl Machine) -> Verdict {
        let Motion::Stood(standstill) = sight.motion else { return Verdict::Leave };
        match machine.kernel_state(sight.worker.id) {
            KernelState::Sleeping | KernelState::Uninterruptible => Verdict::Blocked,
            KernelState::Runnable | KernelState::Other => Verdict::Settled,
            KernelState::Unknown if standstill >= self.limits.blind_standstill => Verdict::Blocked,
            KernelState::Unknown => Verdict::Leave,
        }
    }
}
