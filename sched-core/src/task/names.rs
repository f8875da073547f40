//! The two ways to name a record: [`Run`], of which there is one, and [`TaskRef`], which are counted.

use core::{mem::ManuallyDrop, ops::Deref, ptr::NonNull};

use super::{about::Birth, raw, record::Task, state::DropHandle};
use crate::{
    error::fatal,
    policy::Class,
    queue::Handle,
    registry,
    supply::Order,
    sync::{Ordering, fence},
};

/// More names of a goroutine than any program has but one that leaks them.
const MOST_NAMES: u32 = u32::MAX / 2;

/// What a goroutine is for its whole life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// The size of its stack.
    pub(crate) order: Order,
    /// How urgent it is.
    pub(crate) class: Class,
}

/// The run reference: having it is having the G.
///
/// It lies in exactly one place: a queue, an M, or a commit.
#[derive(Debug)]
pub(crate) struct Run(NonNull<Task>);

// SAFETY: the record is Sync and counted; the run reference is one of the counts.
unsafe impl Send for Run {}

impl Run {
    /// Makes a free record into a goroutine that will run `packet`, with one reference besides.
    ///
    /// # Safety
    ///
    /// `task` is a free record that the caller took from its registry; the packet is nobody else's
    /// to run.
    pub(crate) unsafe fn start(
        task: NonNull<Task>,
        birth: Birth,
        kind: Kind,
        packet: NonNull<raw::Header>,
    ) -> (Run, TaskRef) {
        // SAFETY: records are not freed while they are out.
        let record = unsafe { task.as_ref() };
        record.about.begin(birth, || record.state.reset());
        // Relaxed: nobody else counts on this record until it is queued, which publishes it.
        record.references.store(2, Ordering::Relaxed);
        record.hold_nothing(kind);
        // SAFETY: nobody else knows the record.
        unsafe { *record.packet.get() = Some(packet) };
        (Run(task), TaskRef(task))
    }

    /// Makes a free record into a carrier: it has no packet, no handle, and no number while it polls
    /// nothing.
    ///
    /// # Safety
    ///
    /// `task` is a free record that the caller took from its registry.
    pub(crate) unsafe fn start_carrier(task: NonNull<Task>) -> Run {
        // SAFETY: records are not freed while they are out.
        let record = unsafe { task.as_ref() };
        record.about.end();
        record.state.reset();
        let nothing = record.state.drop_handle();
        debug_assert_eq!(
            nothing,
            DropHandle { result: false, joiner: false },
            "it has just been reset"
        );
        // Relaxed: nobody else knows the record.
        record.references.store(1, Ordering::Relaxed);
        record.hold_nothing(Kind { order: Order::USUAL, class: Class::Normal });
        // SAFETY: nobody else knows the record.
        unsafe { *record.packet.get() = None };
        Run(task)
    }

    /// The record.
    pub(crate) fn task(&self) -> &Task {
        // SAFETY: the run reference keeps the record out of the free lists.
        unsafe { self.0.as_ref() }
    }

    /// The goroutine has ended: its run reference becomes an ordinary one, to be dropped.
    pub(crate) fn end(self) -> TaskRef {
        TaskRef(self.0)
    }
}

// SAFETY: the round trip is that of the pointer; records never move, and nobody has `&mut` to one that
// is out.
unsafe impl Handle for Run {
    type Target = Task;

    fn into_raw(self) -> NonNull<Task> {
        self.0
    }

    unsafe fn from_raw(raw: NonNull<Task>) -> Self {
        Run(raw)
    }
}

/// A counted name of a goroutine.
#[derive(Debug)]
pub(crate) struct TaskRef(NonNull<Task>);

// SAFETY: the record is Sync and lives while it is counted.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    /// A further reference to a record that the caller knows to be counted.
    pub(crate) fn of(task: &Task) -> Self {
        // Relaxed: a new reference is made from one that exists.
        let before = task.references.fetch_add(1, Ordering::Relaxed);
        // As `Arc`: a count that comes round would free a record in use.
        if before > MOST_NAMES {
            fatal(format_args!("goroutine {} has too many waiters: they leak", task.id()));
        }
        TaskRef(NonNull::from(task))
    }

    pub(crate) fn same(&self, other: &TaskRef) -> bool {
        self.0 == other.0
    }

    /// Gives the reference up for the pointer.
    pub(crate) fn into_raw(self) -> NonNull<Task> {
        ManuallyDrop::new(self).0
    }

    /// # Safety
    ///
    /// `raw` is a record of which one reference is the caller's, who gives it away.
    pub(crate) unsafe fn from_raw(raw: NonNull<Task>) -> Self {
        TaskRef(raw)
    }
}

impl Deref for TaskRef {
    type Target = Task;

    fn deref(&self) -> &Task {
        // SAFETY: this reference is counted, so the record is out and stays.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        TaskRef::of(self)
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        // Acquire: the uses of all others happen before the recycling. The only name is ours, and nobody can
        // make another: the count need not be written.
        let only = self.references.load(Ordering::Acquire) == 1;
        // Release: our uses of the record happen before its recycling; pairs with the fence.
        if only || self.references.fetch_sub(1, Ordering::Release) == 1 {
            // Acquire: as above.
            fence(Ordering::Acquire);
            // SAFETY: the last reference: the record is nobody's, and out until it is back.
            unsafe { registry::recycle(self.0) };
        }
    }
}
