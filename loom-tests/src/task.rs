//! A goroutine as the queues see it.

use core::ptr::NonNull;

use loom::cell::UnsafeCell;
use sched_core::policy::{Class, Item};
use sched_core::queue::Handle;
use sched_core::queue::list::{Link, Linked};

/// Whoever takes it touches its content, so a content that was not handed over shows as a race, and one
/// that was handed over twice as a second run.
#[derive(Debug)]
pub struct Task {
    runs: UnsafeCell<usize>,
    link: Link<Task>,
}

/// The one reference to a task that queues pass on. The tasks themselves live in the model.
#[derive(Clone, Copy, Debug)]
pub struct Ref(NonNull<Task>);

// SAFETY: a model's tasks outlive its threads, and what is shared of them is checked by loom.
unsafe impl Send for Ref {}

// SAFETY: the pointer is the handle.
unsafe impl Handle for Ref {
    type Target = Task;

    fn into_raw(self) -> NonNull<Task> {
        self.0
    }

    unsafe fn from_raw(raw: NonNull<Task>) -> Self {
        Self(raw)
    }
}

// SAFETY: one link per task, which only the queues use. A model puts a task into a queue when it is in none.
unsafe impl Linked for Ref {
    fn link(task: &Task) -> &Link<Task> {
        &task.link
    }
}

impl Item for Ref {
    fn class(&self) -> Class {
        Class::Normal
    }
}

impl Ref {
    /// A task that has not run. [`end`](Self::end) frees it.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        let task = Task { runs: UnsafeCell::new(0), link: Link::new() };
        Self(NonNull::from(Box::leak(Box::new(task))))
    }

    /// Stands for the work of the goroutine. Loom reports it if another thread is at it.
    pub fn run(self) {
        // SAFETY: the task lives until `end`; loom checks that the access is exclusive.
        unsafe { self.0.as_ref().runs.with_mut(|runs| *runs += 1) }
    }

    /// Frees the task, when all threads of the model are joined; returns how often it ran.
    pub fn end(self) -> usize {
        // SAFETY: nobody uses it any more; the box comes from `new`.
        unsafe { Box::from_raw(self.0.as_ptr()) }.runs.with(|runs| unsafe { *runs })
    }
}

/// Frees the tasks, and sees that each ran once.
pub fn end_all(tasks: &[Ref]) {
    for task in tasks {
        assert_eq!(task.end(), 1, "each goroutine runs once");
    }
}
