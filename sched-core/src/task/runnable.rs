//! [`Runnable`]: what lies in the run queues, goroutines and futures alike.
//!
//! Both begin with the same [`Head`], so a queue links and stores either by one pointer, and whoever takes
//! it out learns from the head which it is. In one queue they have their turns in one order: neither
//! starves the other, and everything that is said of queues (stealing, lanes, the last look before an M
//! sleeps) holds for both.

use core::ptr::NonNull;

use super::{Run, Task};
use crate::{
    future::cell::{Header, Poller, Vtable},
    policy::{Class, Item},
    queue::{
        Handle,
        list::{Link, Linked},
    },
};

/// How the record of a goroutine or a future begins.
#[repr(C)]
pub(crate) struct Head {
    link: Link<Head>,
    /// What a future's type can do; `None`: it is a goroutine.
    future: Option<&'static Vtable>,
}

impl Head {
    pub(crate) const fn of_goroutine() -> Self {
        Self { link: Link::new(), future: None }
    }

    pub(crate) const fn of_future(vtable: &'static Vtable) -> Self {
        Self { link: Link::new(), future: Some(vtable) }
    }

    pub(crate) fn future(&self) -> Option<&'static Vtable> {
        self.future
    }
}

/// The run reference of something that is ready: having it is having it.
#[derive(Debug)]
pub(crate) enum Runnable {
    /// A goroutine, which has a stack or needs one.
    Goroutine(Run),
    /// A future, which needs a carrier.
    Future(Poller),
}

impl Runnable {
    /// Whether it holds something that others may have to wait for. A future does not: a guard is not `Send`,
    /// so it ends before the await.
    pub(crate) fn is_holder(&self) -> bool {
        matches!(self, Runnable::Goroutine(run) if run.task().is_holder())
    }
}

impl From<Run> for Runnable {
    fn from(run: Run) -> Self {
        Runnable::Goroutine(run)
    }
}

impl From<Poller> for Runnable {
    fn from(future: Poller) -> Self {
        Runnable::Future(future)
    }
}

// SAFETY: 1. the round trip is that of the pointer, and the head tells which kind it is. 2. records and
// futures never move, and nobody has `&mut` to the head of one.
unsafe impl Handle for Runnable {
    type Target = Head;

    fn into_raw(self) -> NonNull<Head> {
        match self {
            // Both begin with their heads (`repr(C)`).
            Runnable::Goroutine(run) => run.into_raw().cast(),
            Runnable::Future(future) => future.into_raw().cast(),
        }
    }

    unsafe fn from_raw(raw: NonNull<Head>) -> Self {
        // SAFETY: a run reference keeps the record, or the future, alive.
        match unsafe { raw.as_ref() }.future {
            // SAFETY: the pointer came from `into_raw` of this kind, and is used once.
            None => Runnable::Goroutine(unsafe { Run::from_raw(raw.cast::<Task>()) }),
            // SAFETY: as above.
            Some(_) => Runnable::Future(unsafe { Poller::from_raw(raw.cast::<Header>()) }),
        }
    }
}

// SAFETY: 1. one link per head, given to no one else. 2. there is one run reference.
unsafe impl Linked for Runnable {
    fn link(head: &Head) -> &Link<Head> {
        &head.link
    }
}

impl Item for Runnable {
    fn class(&self) -> Class {
        match self {
            Runnable::Goroutine(run) => run.task().class(),
            Runnable::Future(_) => Class::Normal,
        }
    }
}
