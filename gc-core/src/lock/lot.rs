//! [`Lot`]: where tasks wait for locks.
//!
//! One per heap, not one per lock: a lock in the heap is one word, and its address stays as long as
//! somebody waits for it, because a waiter holds a guard. Rows by address, each under a lock of its
//! own that is held for a push or a search. A waiter's place is on its own stack, so neither waiting
//! nor waking takes memory (`waiters`). What wakes a task is the world's.
//!
//! Order: first come, first woken; a writer alone, a reader with all readers that wait for the same
//! lock. Whoever is woken tries like anybody else, and comes in at the front if it is late.

use super::raw::{RawLock, Want};
use crate::{
    space::Space,
    sync::Mutex,
    waiters::{Place, Waiters},
    world::World,
};
use core::{fmt, ptr::NonNull};

/// Rows of a lot.
const ROWS: usize = 16;

/// What a task waits for: a lock, by its address.
#[derive(Clone, Copy)]
struct Sought {
    lock: usize,
    want: Want,
}

impl Sought {
    /// Whether it is woken with the first who waits for the lock, if that is another.
    fn joins(self, first: Option<Want>) -> bool {
        first.is_none_or(|first| first == Want::Shared && self.want == Want::Shared)
    }
}

type Row<W> = Waiters<W, Sought>;

/// Those who wait for the locks of one heap. See the [module](self).
pub struct Lot<W> {
    rows: [Mutex<Row<W>>; ROWS],
}

impl<W> Default for Lot<W> {
    fn default() -> Self {
        Self { rows: core::array::from_fn(|_| Mutex::new(Row::default())) }
    }
}

impl<W> Lot<W> {
    fn row<R>(&self, lock: usize, f: impl FnOnce(&mut Row<W>) -> R) -> R {
        let row = &self.rows[lock.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - 4)];
        // Nothing under this lock panics, so poison carries no news.
        f(&mut row.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Waits until the lock may be to be had. `late`: the caller was woken before, and was passed.
    pub fn wait<S: Space>(
        &self,
        world: &impl World<S, Waiter = W>,
        lock: &RawLock,
        want: Want,
        late: bool,
    ) {
        let sought = Sought { lock: core::ptr::from_ref(lock).addr(), want };
        let place = Place::new(world.waiter(), sought);
        let parks = self.row(sought.lock, |row| {
            let parks = lock.announce(want);
            if parks {
                let put = if late { Row::put_first } else { Row::put_last };
                // SAFETY: the place is waited for below, and nothing unwinds before: rule 4 of `World`.
                unsafe { put(row, NonNull::from(&place)) };
            }
            parks
        });
        if parks && place.wait(|| world.park()) {
            // Whoever left a permit that was not ours meant something else.
            world.unpark(&world.waiter());
        }
    }

    /// Wakes who is first, after [`RawLock::leave`] said so.
    #[cold]
    pub fn wake<S: Space>(&self, world: &impl World<S, Waiter = W>, lock: &RawLock) {
        let address = core::ptr::from_ref(lock).addr();
        let woken = self.row(address, |row| {
            let (mut first, mut rest) = (None, false);
            let woken = row.take(|sought| {
                let waits = sought.lock == address;
                let comes = waits && sought.joins(first);
                first = first.or(waits.then_some(sought.want));
                rest |= waits && !comes;
                comes
            });
            if !rest {
                lock.nobody_waits();
            }
            woken
        });
        // Whoever is told finds the lock as its last holder left it.
        woken.tell(|waiter| world.unpark(&waiter));
    }
}

impl<W> fmt::Debug for Lot<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lot").finish_non_exhaustive()
    }
}
