//! All cleanup queues of a heap, whatever their tokens are: what the driver tells them.

use super::{Entries, known::Survives};
use core::fmt;
use std::sync;

/// A queue as the driver sees it.
trait Bury: Send + Sync {
    fn sift(&self, is_marked: Survives<'_>, pause: &mut dyn FnMut());

    fn bury(&self, survives: Survives<'_>, pause: &mut dyn FnMut());
}

impl<K: Send, W: Send> Bury for Entries<K, W> {
    fn sift(&self, is_marked: Survives<'_>, pause: &mut dyn FnMut()) {
        Entries::sift(self, is_marked, pause);
    }

    fn bury(&self, survives: Survives<'_>, pause: &mut dyn FnMut()) {
        Entries::bury(self, survives, pause);
    }
}

/// The queues of a heap.
#[derive(Default)]
pub struct Cleanups(sync::Mutex<Vec<sync::Weak<dyn Bury>>>);

impl Cleanups {
    fn all<R>(&self, f: impl FnOnce(&mut Vec<sync::Weak<dyn Bury>>) -> R) -> R {
        // Nothing under this lock panics, so poison carries no news.
        f(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// A queue whose entries are to be looked at from now on, for as long as somebody has it.
    pub fn add<K, W>(&self, queue: &sync::Arc<Entries<K, W>>)
    where
        K: Send + 'static,
        W: Send + 'static,
    {
        self.all(|all| all.push(sync::Arc::downgrade(queue) as _));
    }

    /// Calls `tell` for all queues. One that comes meanwhile may be told, or not: what it knows is newer than the
    /// sifting.
    fn each(&self, mut tell: impl FnMut(&dyn Bury)) {
        let queue = |index| self.all(|all| all.get(index).map(sync::Weak::upgrade));
        (0..).map_while(queue).flatten().for_each(|queue| tell(&*queue));
    }

    /// Before hand 3: all queues sift what they know.
    pub(crate) fn sift(&self, is_marked: Survives<'_>, pause: &mut dyn FnMut()) {
        self.each(|queue| queue.sift(is_marked, pause));
    }

    /// Step 7: all queues have their dead. Those that are gone are forgotten.
    pub(crate) fn bury(&self, survives: Survives<'_>, pause: &mut dyn FnMut()) {
        self.all(|all| all.retain(|queue| queue.strong_count() != 0));
        self.each(|queue| queue.bury(survives, pause));
    }
}

impl fmt::Debug for Cleanups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cleanups").finish_non_exhaustive()
    }
}
