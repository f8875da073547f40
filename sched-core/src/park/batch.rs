//! [`Batch`]: goroutines that one who holds no P makes ready, queued together.
//!
//! A plain thread that opens a gate for a million goroutines would take the lock of the global queue for each,
//! against those who take them out again.

use core::mem::take;

use crate::{
    entry::enter,
    goroutine,
    policy::Cause,
    queue::list::List,
    task::{Task, TaskRef, runnable::Runnable},
};

/// So many are queued at once: the first of them shall not wait for the last.
const MOST: usize = 64;

/// Those whose waits one caller ends: see [`Caller::release`](super::Caller::release). Who is in it is queued
/// when it is full, and when it is dropped.
#[derive(Debug, Default)]
pub struct Batch {
    list: List<Runnable>,
    /// The first: keeps the scheduler of all.
    first: Option<TaskRef>,
}

impl Batch {
    /// Nobody.
    pub const fn new() -> Self {
        Batch { list: List::new(), first: None }
    }

    /// Calls `end`, by which a wait of `task` is over, and has it queued if it is parked.
    ///
    /// # Safety
    ///
    /// The goroutine does not end before `end` is called.
    pub(crate) unsafe fn release(&mut self, task: &Task, end: impl FnOnce()) {
        let keeps = |first: &TaskRef| core::ptr::eq(first.shared(), task.shared());
        if !self.first.as_ref().is_some_and(keeps) {
            self.queue();
        }
        let first = self.first.get_or_insert_with(|| TaskRef::of(task));
        end();
        // The scheduler is kept: as on one of its Ms, the record is one still, if maybe another goroutine's.
        if let Some(run) = goroutine::awaken(task) {
            first.shared().collect(&mut self.list, run, Cause::Unparked);
        }
        if self.list.len() >= MOST {
            self.queue();
        }
    }

    fn queue(&mut self) {
        let Some(first) = self.first.take() else { return };
        let _entered = enter();
        first.shared().put_all(take(&mut self.list), Cause::Unparked);
        first.shared().notify();
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.queue();
    }
}
