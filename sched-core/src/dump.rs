//! Who is there: a list of all goroutines, with what each does and where it came from.
//!
//! # Problem
//!
//! A program hangs, or does not end: which goroutines are left, and what do they wait for? The answer
//! must come from a thread that stops nobody and waits for nobody, as whoever hangs may hold any
//! lock.
//!
//! # How
//!
//! G records are never freed while their scheduler lives, so `Shared::goroutines` walks over all of
//! them. Each tells of itself what belongs to one life of it ([`About`](crate::task::about)). What
//! runs is compared with what the Ms say: a goroutine that runs without a P has lost it, because it
//! blocks in the kernel. One may block there and have its P, as long as nobody wants that. So the kernel
//! is asked what the thread of such an M does: a look into /proc, 20 µs, and nothing for who runs.
//!
//! # For how long
//!
//! Times are read from what is noted anyway, by a clock that costs a fraction of a switch. Who waits has noted
//! when its slice began ([`about`](crate::task::about)), who runs has the beginning of its slice on its P. Who
//! lost its P has on its M when that was; a moment passes until the monitor sees that somebody blocks. While
//! nobody wants the P it stays, and nothing tells when the goroutine went into the kernel: that it is there for
//! no longer than its slice. How long one has been runnable is not noted.
//!
//! The list is no snapshot: each line is true of one moment between the call and the return, and no
//! two lines need be of the same. A goroutine that is there all the time is in the list.
//!
//! # Source
//!
//! Go's `tracebackothers` and the header of a goroutine in it (`traceback.go`).

use core::{
    fmt::{self, Write},
    panic::Location,
    time::Duration,
};

use crate::{
    machine::Machine,
    monitor::Holder,
    park::WaitReason,
    preempt::{StatFile, Stderr},
    shared::Shared,
    sync::Ordering,
    task::{Task, TaskId, about::Wait, state::Phase},
};

/// What a goroutine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It is ready, and waits for its turn.
    Runnable,
    /// It runs.
    Running {
        /// For how long in one go: it gave way to nobody meanwhile.
        time: Duration,
    },
    /// It blocks in the kernel, with its P or without, or has just come back from there.
    Blocked {
        /// How long it has been without its P: all the time but for a moment. While it has its P, how long its
        /// slice has lasted, of which it may have computed a part.
        time: Duration,
    },
    /// It waits for something.
    Waiting {
        /// For what.
        reason: WaitReason,
        /// How long. More than the truth by what it ran before in one go: up to a slice (10 ms) while others
        /// wanted to run.
        time: Duration,
    },
}

/// A goroutine, as it was at a look.
///
/// ```
/// use sched_core::{Config, NoHooks, Scheduler, Status, park::{self, WaitReason}};
/// # use std::sync::Arc;
/// let scheduler = Scheduler::new(Config::default(), Arc::new(NoHooks))?;
/// let (tell, told) = std::sync::mpsc::channel();
/// let waits = scheduler.spawn(move || {
///     tell.send(park::current()).unwrap();
///     park::park(WaitReason::Park);
/// })?;
/// let waiter = told.recv()?;
/// while !matches!(scheduler.goroutines()[0].status, Status::Waiting { .. }) {}
/// let all = scheduler.goroutines();
/// assert_eq!((all.len(), all[0].id), (1, waits.id()));
/// assert!(all[0].to_string().starts_with("goroutine 1 [park"));
/// waiter.unpark();
/// # waits.join().unwrap();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Goroutine {
    /// Its number.
    pub id: TaskId,
    /// What it does.
    pub status: Status,
    /// The goroutine that started it; `None` if a plain thread did.
    pub creator: Option<TaskId>,
    /// Where it was started.
    pub origin: &'static Location<'static>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Runnable => f.write_str("runnable"),
            Status::Running { time } => write!(f, "running, {time:.1?}"),
            Status::Blocked { time } => write!(f, "blocked in the kernel, {time:.1?}"),
            Status::Waiting { reason, time } => write!(f, "{reason}, {time:.1?}"),
        }
    }
}

impl fmt::Display for Goroutine {
    /// One line: `goroutine 18 [receive, 3.2s] started by 1 at src/main.rs:12:9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "goroutine {} [{}] started ", self.id, self.status)?;
        if let Some(creator) = self.creator {
            write!(f, "by {creator} ")?;
        }
        write!(f, "at {}", self.origin)
    }
}

/// The folder of this crate's sources, as backtraces name it.
#[doc(hidden)]
pub fn sources() -> &'static str {
    let this = file!();
    this.strip_suffix("dump.rs").unwrap_or(this)
}

/// What an M says.
pub(crate) struct Boarded<'a> {
    m: &'a Machine,
    /// Unchanged means the same run of the same goroutine.
    switches: u64,
    /// The goroutine that runs on it.
    task: *const Task,
    has_proc: bool,
    /// Since when it has its P, or none.
    since: u64,
}

impl<'a> Boarded<'a> {
    fn of(m: &'a Machine) -> Self {
        // The count first: what is read later may be of a later run, which is then told by the count.
        let switches = m.switches();
        Self { m, switches, task: m.task(), has_proc: m.proc().is_some(), since: m.since() }
    }

    /// Whether it has no P, or the kernel says that the thread sleeps, still in this run: a dump takes its time. Allocates
    /// nothing.
    fn blocks(&self) -> bool {
        let sleeps = || StatFile::open(self.m.thread()).is_ok_and(|stat| stat.state().is_blocked());
        (!self.has_proc || sleeps()) && self.m.switches() == self.switches
    }
}

impl Shared {
    /// All goroutines that have not ended, by number.
    pub(crate) fn goroutines(&self) -> Vec<Goroutine> {
        let aboard = self.aboard();
        let tell = |task: &Task| self.read(task, &aboard);
        let mut all: Vec<_> = self.registry.records().filter_map(tell).collect();
        all.sort_unstable_by_key(|goroutine| goroutine.id);
        all
    }

    /// The goroutines that hold something.
    pub(crate) fn holders(&self) -> Vec<Holder> {
        let aboard = self.aboard();
        let tell = |task: &Task| {
            // Relaxed: a hint.
            let holds = task.holds().load(Ordering::Relaxed);
            let goroutine = if holds != 0 { self.read(task, &aboard) } else { None };
            goroutine.map(|goroutine| Holder { goroutine, holds })
        };
        self.registry.records().filter_map(tell).collect()
    }

    /// Writes a line for each goroutine to standard error. Allocates nothing: the process is about to
    /// abort, and whoever holds the allocator's lock may never run again.
    pub(crate) fn show_goroutines(&self) {
        for task in self.registry.records() {
            let aboard = self.machines().map(Boarded::of).find(|m| core::ptr::eq(m.task, task));
            if let Some(goroutine) = self.read(task, aboard.as_slice()) {
                // Nobody is left to hear of an error.
                let _ = writeln!(Stderr, "{goroutine}");
            }
        }
    }

    /// What the Ms say now.
    pub(crate) fn aboard(&self) -> Vec<Boarded<'_>> {
        self.machines().map(Boarded::of).collect()
    }

    /// What one record's goroutine does, by what the Ms said.
    pub(crate) fn read(&self, task: &Task, aboard: &[Boarded<'_>]) -> Option<Goroutine> {
        let (birth, wait, phase) = task.about.read(|| task.state.phase())?;
        let status = match phase {
            Phase::Runnable => Status::Runnable,
            Phase::Running => self.on_board(aboard.iter().find(|m| core::ptr::eq(m.task, task))),
            Phase::Parked => self.waiting_since(wait),
            Phase::Done => return None,
        };
        Some(Goroutine {
            id: TaskId::new(birth.id),
            status,
            creator: (birth.creator != 0).then(|| TaskId::new(birth.creator)),
            origin: birth.origin,
        })
    }

    /// What one does that runs on that M. On none: it has just been taken from a queue.
    fn on_board(&self, m: Option<&Boarded<'_>>) -> Status {
        let time = m.map_or(Duration::ZERO, |m| self.time_since(m.since));
        match m.is_some_and(Boarded::blocks) {
            true => Status::Blocked { time },
            false => Status::Running { time },
        }
    }

    /// What one does that is parked. Without a note: it has just been woken, or is about to say why it waits.
    fn waiting_since(&self, wait: Option<Wait>) -> Status {
        let reason = wait.and_then(|wait| WaitReason::of_number(wait.reason));
        let time = wait.map_or(Duration::ZERO, |wait| self.time_since(wait.since));
        Status::Waiting { reason: reason.unwrap_or(WaitReason::Park), time }
    }

    pub(crate) fn time_since(&self, ticks: u64) -> Duration {
        Duration::from_nanos(self.clock.since(ticks))
    }
}
