//! All cleanup queues of a heap, whatever their tokens are: what the driver tells them.

use super::{Entries, known::Survives};
use crate::{
    counted::{Counted, Inner},
    space::Exhausted,
};
use core::{fmt, ptr::NonNull};
use std::sync::Mutex;

/// A queue as the driver sees it.
trait Bury<W>: Send + Sync {
    fn sift(&self, is_marked: Survives<'_>, pause: &mut dyn FnMut());

    fn bury(&self, survives: Survives<'_>, wake: &dyn Fn(W), pause: &mut dyn FnMut());
}

impl<K: Send, W: Send> Bury<W> for Entries<K, W> {
    fn sift(&self, is_marked: Survives<'_>, pause: &mut dyn FnMut()) {
        Entries::sift(self, is_marked, pause);
    }

    fn bury(&self, survives: Survives<'_>, wake: &dyn Fn(W), pause: &mut dyn FnMut()) {
        Entries::bury(self, survives, wake, pause);
    }
}

type Queue<W> = Counted<dyn Bury<W>>;

/// The queues of a heap: a share of each, so that a driver may be in the middle of one that ends.
pub struct Cleanups<W>(Mutex<Vec<Queue<W>>>);

impl<W> Default for Cleanups<W> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<W: Send + 'static> Cleanups<W> {
    fn all<R>(&self, f: impl FnOnce(&mut Vec<Queue<W>>) -> R) -> R {
        // Nothing under this lock panics, so poison carries no news.
        f(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// A queue whose entries are to be looked at from now on, for as long as somebody has it.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] if there is no memory for a place on the list.
    pub fn add<K>(&self, queue: &Counted<Entries<K, W>>) -> Result<(), Exhausted>
    where
        K: Send + 'static,
    {
        let unsize =
            |queue: NonNull<Inner<Entries<K, W>>>| -> NonNull<Inner<dyn Bury<W>>> { queue };
        self.all(|all| {
            all.try_reserve(1).map_err(|_| Exhausted)?;
            // SAFETY: a coercion, and nothing else.
            all.push(unsafe { queue.clone().coerce(unsize) });
            Ok(())
        })
    }

    /// Calls `tell` for all queues. One that comes meanwhile may be told, or not: what it knows is newer than the
    /// sifting. None goes but in [`bury`](Self::bury), so none is passed over.
    fn each(&self, tell: impl FnMut(Queue<W>)) {
        (0..).map_while(|index| self.all(|all| all.get(index).cloned())).for_each(tell);
    }

    /// Before hand 3: all queues sift what they know.
    pub(crate) fn sift(&self, is_marked: Survives<'_>, pause: &mut dyn FnMut()) {
        self.each(|queue| queue.sift(is_marked, pause));
    }

    /// Step 7: all queues have their dead, and `wake` gives permits to those who wait. Queues that are gone are
    /// forgotten.
    pub(crate) fn bury(&self, survives: Survives<'_>, wake: &dyn Fn(W), pause: &mut dyn FnMut()) {
        // Their ends took everything out, so nothing of a user's is dropped.
        self.all(|all| all.retain(|queue| !queue.is_last()));
        self.each(|queue| queue.bury(survives, wake, pause));
    }
}

impl<W> fmt::Debug for Cleanups<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cleanups").finish_non_exhaustive()
    }
}
