//! Whom a request for a cycle wakes: what the embedding has put there, and the threads of
//! [`Collector`](crate::Collector)s.
//!
//! Each collector takes away its own thread and nothing else, so one may begin before another has ended, also beside
//! an embedding's waker. Whoever is woken looks whether a cycle is still asked for.

use super::lock;
use crate::{counted::Call, space::Exhausted};
use std::{
    fmt,
    sync::Mutex,
    thread::{Thread, ThreadId},
};

/// Whom a request wakes.
#[derive(Default)]
pub(crate) struct Wakers {
    embedding: Mutex<Option<Call>>,
    threads: Mutex<Vec<Thread>>,
}

impl Wakers {
    /// Replaces the embedding's.
    pub(crate) fn set(&self, waker: Call) {
        let former = lock(&self.embedding).replace(waker);
        drop(former);
    }

    /// From now on `thread` is unparked as well; unless there is no memory for a place on the list.
    pub(crate) fn add(&self, thread: Thread) -> Result<(), Exhausted> {
        let mut threads = lock(&self.threads);
        threads.try_reserve(1).map_err(|_| Exhausted)?;
        threads.push(thread);
        Ok(())
    }

    /// That thread is unparked no more.
    pub(crate) fn remove(&self, thread: ThreadId) {
        lock(&self.threads).retain(|other| other.id() != thread);
    }

    /// Wakes them. Takes no memory.
    pub(crate) fn wake(&self) {
        lock(&self.threads).iter().for_each(Thread::unpark);
        let waker = lock(&self.embedding).clone();
        if let Some(wake) = waker {
            wake();
        }
    }
}

impl fmt::Debug for Wakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wakers").field("threads", &self.threads).finish_non_exhaustive()
    }
}
