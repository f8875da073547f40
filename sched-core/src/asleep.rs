//! Deadlock: all goroutines wait, and nobody is left to wake one.
//!
//! # Problem
//!
//! Goroutines that all wait for each other wait for ever, and the program hangs without a word. But
//! goroutines that all wait may as well be a server between two requests: a plain thread may send to a
//! channel, a timer may fire. A false alarm ends a healthy program; so the answer must be certain.
//!
//! # Who can wake a goroutine
//!
//! Another goroutine, a deadline, or a plain thread of this process. So it is a deadlock if at one
//! moment
//!
//! 1. there are goroutines or futures, and every one is parked or waits for a wake; no M runs any, all Ps
//!    are idle;
//! 2. no deadline is set, and the timer thread has nothing in its hand that it took out and did not wake yet;
//! 3. every thread of the process is one of: an M, which then has nothing to do; a thread of the
//!    scheduler's or of its owner's, which wakes nobody of its own accord ([`Scheduler::adopt_thread`]);
//!    a plain thread that sleeps in [`park`](crate::park::park) without a deadline; in thread mode, the
//!    thread of a slot, which waits for its baton and gets it from an M.
//!
//! One thread more (of another scheduler, of a library, one that reads a socket) and there is no
//! verdict: it may know a goroutine. The kernel lists the threads.
//!
//! # One moment
//!
//! The list takes a while to check, and who was seen asleep may have been woken by one who was then seen
//! asleep. So all is looked at twice, with two counts: switches of all Ms, and wakings of plain threads.
//! If nothing has changed, and the Ps are still idle, nobody has run in between who could have woken
//! anybody. A thread that was awake meanwhile has been woken, which was counted, or went to sleep before
//! it was seen; and what it woke before that shows: a goroutine as a P that is not idle or as a switch, a
//! thread as a waking. The second look reads the counts after it has seen all asleep, so it sees all that
//! they did.
//!
//! # Not seen
//!
//! Goroutines blocked in the kernel for ever are not asleep. A goroutine that waits for a thread that
//! waits for it, by other means than ours, is not seen either.
//!
//! # Source
//!
//! Go's `checkdead` (`proc.go`), which counts its Ms, and with cgo says nothing.

use std::{collections::HashSet, fs, io, sync::PoisonError};

use crate::{
    context::ThreadId,
    dump::{Goroutine, Status},
    park::Sleepers,
    shared::Shared,
};

impl Shared {
    /// The calling thread wakes nobody of its own accord.
    pub(crate) fn adopt_thread(&self) {
        // SAFETY: no memory is passed.
        let tid = unsafe { libc::gettid() };
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).push(tid);
    }

    /// Whether there are goroutines and no deadline: if nothing happens, they wait for ever. Allocates nothing.
    pub(crate) fn may_wait_for_ever(&self) -> bool {
        self.gate.inside() > 0 && !self.timers.any()
    }

    /// The same, and nothing happens just now.
    fn seems_asleep(&self) -> bool {
        self.may_wait_for_ever()
            && self.idle.idle_procs() == self.wanted_procs()
            && self.machines().all(|m| m.task().is_null())
    }

    /// All goroutines, if they and the futures wait for each other for ever.
    pub(crate) fn deadlock(&self) -> Option<Vec<Goroutine>> {
        let (switches, sleepers) = (self.switches(), Sleepers::look());
        // Threads first: they are fewer than goroutines, and mostly there is one that may wake somebody.
        if !self.seems_asleep() || !self.knows_all_threads(&sleepers).ok()? {
            return None;
        }
        let all = self.goroutines();
        let parked = |one: &Goroutine| matches!(one.status, Status::Waiting { .. });
        // Futures that are not polled lie in a queue or wait to be woken; with idle Ps, the latter.
        let nobody = all.is_empty() && self.futures() == 0;
        if nobody || !all.iter().all(parked) {
            return None;
        }
        let still = Sleepers::look() == sleepers && self.switches() == switches;
        (still && self.seems_asleep()).then_some(all)
    }

    /// Switches of all Ms.
    pub(crate) fn switches(&self) -> u64 {
        self.machines().map(|m| m.switches()).fold(0, u64::wrapping_add)
    }

    /// Whether all threads of the process are known to wake nobody now.
    fn knows_all_threads(&self, sleepers: &Sleepers) -> io::Result<bool> {
        let mut known: HashSet<i32> = self.machines().map(|m| m.signals().id().tid()).collect();
        known.extend(self.adopted.lock().unwrap_or_else(PoisonError::into_inner).iter());
        known.extend(&sleepers.tids);
        // Else no slot has one, and a million of them are not walked for that.
        if !self.mode.is_own_tls() {
            known.extend(self.supplies.threads().map(ThreadId::tid));
        }
        for entry in fs::read_dir("/proc/self/task")? {
            let tid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
            if tid.is_none_or(|tid| !known.contains(&tid)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
