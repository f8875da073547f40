//! A simulated goroutine.

use core::fmt;
use core::ptr::NonNull;

use crate::{
    policy::{Class, Item},
    queue::{
        Handle,
        list::{Link, Linked},
    },
};

/// A simulated goroutine's number, in the order of birth.
pub type JobId = usize;

/// What a simulated goroutine does next.
#[derive(Debug)]
pub enum Step {
    /// Computes for so many nanoseconds.
    Compute(u64),
    /// Starts another one.
    Spawn(Program),
    /// Gives another one a token.
    Signal(JobId),
    /// Waits until it has been given so many tokens, and uses them up.
    Await(u32),
    /// Sleeps for so many nanoseconds.
    Sleep(u64),
    /// Lets others run.
    Yield,
    /// Ends.
    End,
}

/// What a simulated goroutine sees when it is asked.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Itself.
    pub me: JobId,
    /// The one that it started last; itself before that.
    pub child: JobId,
    /// The virtual time in nanoseconds.
    pub now: u64,
    /// A random number.
    pub random: u64,
}

/// A simulated goroutine's life: its kind, its class, and what it does, step by step.
pub struct Program {
    pub(super) kind: &'static str,
    pub(super) class: Class,
    pub(super) next: Box<dyn FnMut(View) -> Step>,
}

impl Program {
    /// One of a kind, by which waits are told apart in the report.
    pub fn new(kind: &'static str, next: impl FnMut(View) -> Step + 'static) -> Self {
        Program { kind, class: Class::Normal, next: Box::new(next) }
    }

    /// With a class.
    #[must_use]
    pub fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// A goroutine of the simulation: what lies in the policy's queues.
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) program: Program,
    pub(super) child: JobId,
    /// Nanoseconds that it still computes before its next step.
    pub(super) rest: u64,
    /// Since when it has been ready.
    pub(super) ready: u64,
    link: Link<Job>,
}

/// The one handle of a job.
pub(super) struct Ref(pub(super) Box<Job>);

impl Ref {
    pub(super) fn new(id: JobId, program: Program) -> Self {
        Ref(Box::new(Job { id, program, child: id, rest: 0, ready: 0, link: Link::new() }))
    }
}

// SAFETY: a simulation and all that is in it stay on one thread: programs, which need not be Send, never leave it.
// The bounds of the queues ask for it.
unsafe impl Send for Ref {}

// SAFETY: the box's own round trip; shared references go to the link alone.
unsafe impl Handle for Ref {
    type Target = Job;

    fn into_raw(self) -> NonNull<Job> {
        NonNull::from(Box::leak(self.0))
    }

    unsafe fn from_raw(raw: NonNull<Job>) -> Self {
        // SAFETY: the caller vouches that `raw` comes from `into_raw` and is used once.
        Ref(unsafe { Box::from_raw(raw.as_ptr()) })
    }
}

// SAFETY: 1. one link per job, used by the queues alone. 2. a box is the one handle.
unsafe impl Linked for Ref {
    fn link(job: &Job) -> &Link<Job> {
        &job.link
    }
}

impl Item for Ref {
    fn class(&self) -> Class {
        self.0.program.class
    }
}
