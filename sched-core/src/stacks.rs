//! Copies of goroutines' stacks, for backtraces on request.
//!
//! # Problem
//!
//! A dump wants to show where each goroutine is. Nobody may be stopped for it, and a stack that is read
//! while its goroutine runs shows frames that never were together.
//!
//! # How
//!
//! *Parked*: the dump takes the goroutine, as a waker would, but gives it back as parked
//! ([`State::claim`](crate::task::state::State::claim)). For the microseconds in between it has the G,
//! and with it the stack. A waker that comes meanwhile leaves its permit; whoever gives the goroutine
//! back finds that and queues it. All of this happens inside the runtime, so that nobody waits for a dump
//! that was preempted; hence the room for the copy is made before, once for all of them. What is kept of each copy
//! is as long as the stack was: a hundred thousand goroutines that wait in a few frames each make a dump of some
//! hundred megabytes, and not of 64 KiB each.
//!
//! In thread mode the goroutine's thread does not run either, or is about to wait: it has told where it stands
//! before it let another run ([`Context`](crate::context::Context)), and nothing above that changes until it
//! is resumed. One that was preempted tells what the signal has interrupted.
//!
//! *Running*: its thread copies the stack itself ([`probe`](crate::preempt)). A goroutine that blocks in
//! the kernel is interrupted for it: raw system calls may see `EINTR`, as by a preemption.
//!
//! *Runnable*: the dump keeps it from running ([`State::watch`](crate::task::state::State::watch)). Whoever
//! takes it from its queue waits for the few microseconds of the copy. There is none of one that has not run
//! yet, nor, with own TLS, of one that waits for its turn in a signal handler, whose thread has its registers.
//!
//! The same way to have a parked goroutine serves those who give memory of its stack back ([`trim`]).
//!
//! A copy holds what is above the stack pointer, up to [`MOST`] bytes: the innermost frames. Unwinding
//! and names are not the scheduler's business.

mod trim;

use core::ptr::NonNull;

use crate::{
    config::Preemption,
    dump::{Goroutine, Status},
    entry::enter,
    machine::Machine,
    preempt::{Probe, Registers, copy},
    queue::Handle,
    shared::Shared,
    task::{Run, Task, TaskId, state::CommitPark},
};

/// Bytes of a stack that are copied at most.
const MOST: usize = 64 << 10;

/// A goroutine, and a copy of its stack.
#[derive(Clone, Debug)]
pub struct StackCopy {
    /// Who it is.
    pub goroutine: Goroutine,
    /// Where it was; `None` if there is no copy.
    pub registers: Option<Registers>,
    /// The stack from [`Registers::sp`] up: all of it, or the innermost 64 KiB.
    pub bytes: Vec<u8>,
}

impl Shared {
    /// All goroutines that have not ended, by number, with their stacks where they can be had.
    pub(crate) fn stacks(&self) -> Vec<StackCopy> {
        let (aboard, mut room) = (self.aboard(), Vec::with_capacity(MOST));
        let copy = |task: &Task| self.stack_of(task, self.read(task, &aboard)?, &mut room);
        let mut all: Vec<StackCopy> = self.registry.records().filter_map(copy).collect();
        all.sort_unstable_by_key(|one| one.goroutine.id);
        all
    }

    fn stack_of(&self, task: &Task, goroutine: Goroutine, room: &mut Vec<u8>) -> Option<StackCopy> {
        room.clear();
        let registers = match goroutine.status {
            Status::Waiting { .. } => self.of_parked(task, goroutine.id, room),
            Status::Running { .. } | Status::Blocked { .. } => self.of_running(task, room),
            Status::Runnable => self.of_runnable(task, goroutine.id, room),
        };
        let bytes = registers.map_or(Vec::new(), |_| room.to_vec());
        Some(StackCopy { goroutine, registers, bytes })
    }

    fn of_parked(&self, task: &Task, id: TaskId, room: &mut Vec<u8>) -> Option<Registers> {
        // SAFETY: for that time we have the G.
        self.with_parked(task, || unsafe { copy_suspended(task, id, room) }).flatten()
    }

    /// Calls `f` if the goroutine is parked, and keeps it so for that time: the caller has the G. Who wakes it
    /// meanwhile does not wait, but the goroutine does. `f` is inside the runtime.
    fn with_parked<R>(&self, task: &Task, f: impl FnOnce() -> R) -> Option<R> {
        let _entered = enter();
        let result = task.state.claim().then(f)?;
        if task.state.commit_park() == CommitPark::Notified {
            // SAFETY: the state says that it is nobody else's to queue.
            self.put_woken(None, unsafe { Run::from_raw(NonNull::from(task)) });
        }
        Some(result)
    }

    fn of_runnable(&self, task: &Task, id: TaskId, room: &mut Vec<u8>) -> Option<Registers> {
        let _entered = enter();
        let _watch = task.state.watch()?;
        // SAFETY: we watch it.
        unsafe { copy_suspended(task, id, room) }
    }

    fn of_running(&self, task: &Task, room: &mut Vec<u8>) -> Option<Registers> {
        if self.config.preemption == Preemption::Cooperative {
            return None;
        }
        let runs = |m: &&Machine| core::ptr::eq(m.task(), task);
        let m = self.machines().find(runs)?;
        let g = core::ptr::from_ref(task).cast_mut().cast();
        // One asker at a time: an M has room for one probe.
        let _asking = self.probing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let probe = Probe::with_room(core::mem::take(room));
        let (bytes, registers) = probe.ask(m.signals(), m.thread(), g);
        *room = bytes;
        registers
    }
}

/// Copies the stack of a goroutine that is suspended. `None` if the record is another's by now, or it is
/// suspended on a stack that is not its own.
///
/// # Safety
///
/// The caller has the G, or watches it.
unsafe fn copy_suspended(task: &Task, id: TaskId, into: &mut Vec<u8>) -> Option<Registers> {
    // SAFETY: the caller's claim.
    let slot = unsafe { task.slot_ref() }.filter(|_| task.id() == id)?;
    // SAFETY: the caller's claim: it is suspended, and stays so.
    let registers = unsafe { slot.context().suspended_at() }?;
    let bounds = slot.bounds();
    bounds.contains(&registers.sp).then(|| {
        // SAFETY: as above: nobody runs on the stack.
        unsafe { copy(&bounds, registers.sp, into) };
        registers
    })
}
