//! Deadlock: what a scheduler knows of its goroutines and of the threads around it. What follows from that is
//! in [`lull`](crate::lull).

use std::{collections::HashSet, fs, io, sync::PoisonError};

use crate::{
    context::ThreadId,
    dump::{Goroutine, Status},
    lull::{self, Lull},
    park::{self, Sleepers},
    shared::Shared,
};

impl Shared {
    /// The calling thread wakes nobody of its own accord.
    pub(crate) fn adopt_thread(&self) {
        // SAFETY: no memory is passed.
        let tid = unsafe { libc::gettid() };
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner).push(tid);
        park::adopt_thread();
    }

    /// Whether there are goroutines and no deadline: if nothing happens, they wait for ever. Allocates nothing.
    pub(crate) fn may_wait_for_ever(&self) -> bool {
        self.gate.inside() > 0 && !self.timers.any()
    }

    /// A deadline is gone, and perhaps no P moves for it: see [`lull`].
    pub(crate) fn deadline_gone(&self) {
        let idle = || self.idle.idle_procs() == self.wanted_procs();
        lull::deadline_gone(self.idle.bell(), idle, || self.timers.any());
    }

    /// All goroutines, if they and the futures wait for each other for ever.
    pub(crate) fn deadlock(&self) -> Option<Vec<Goroutine>> {
        lull::verdict(self)
    }

    /// Whether all threads of the process are known to wake nobody now.
    fn find_no_stranger(&self, sleepers: &Sleepers) -> io::Result<bool> {
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

impl Lull for Shared {
    type Sleepers = Sleepers;
    type Waiting = Vec<Goroutine>;

    fn sleepers(&self) -> Sleepers {
        Sleepers::look()
    }

    fn switches(&self) -> u64 {
        self.machines().map(|m| m.switches()).fold(0, u64::wrapping_add)
    }

    fn seems_asleep(&self) -> bool {
        self.may_wait_for_ever()
            && self.idle.idle_procs() == self.wanted_procs()
            && self.machines().all(|m| m.task().is_null())
    }

    fn knows_all_threads(&self, sleepers: &Sleepers) -> bool {
        // Without a list of threads nobody can say.
        self.find_no_stranger(sleepers).unwrap_or(false)
    }

    fn waiting(&self) -> Option<Vec<Goroutine>> {
        let all = self.goroutines();
        let parked = |one: &Goroutine| matches!(one.status, Status::Waiting { .. });
        // Futures that are not polled lie in a queue or wait to be woken; with idle Ps, the latter.
        let nobody = all.is_empty() && self.futures() == 0;
        (!nobody && all.iter().all(parked)).then_some(all)
    }
}
