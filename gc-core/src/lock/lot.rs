//! [`Lot`]: where tasks wait for locks.
//!
//! One per heap, not one per lock: a lock in the heap is one word, and its address stays as long as
//! somebody waits for it, because a waiter holds a guard. Rows by address, each under a lock of its
//! own that is held for a push or a search. What wakes a task is the world's.
//!
//! Order: first come, first woken; a writer alone, a reader with all readers that wait for the same
//! lock. Whoever is woken tries like anybody else, and comes in at the front if it is late.

use super::raw::{RawLock, Want};
use crate::{
    space::Space,
    sync::{Arc, AtomicBool, Mutex, Ordering},
    world::World,
};
use core::fmt;
use std::collections::VecDeque;

/// Rows of a lot.
const ROWS: usize = 16;

struct Place<W> {
    lock: usize,
    want: Want,
    waiter: W,
    woken: Arc<AtomicBool>,
}

type Row<W> = Mutex<VecDeque<Place<W>>>;

/// Those who wait for the locks of one heap. See the [module](self).
pub struct Lot<W> {
    rows: [Row<W>; ROWS],
}

impl<W> Default for Lot<W> {
    fn default() -> Self {
        Self { rows: core::array::from_fn(|_| Mutex::new(VecDeque::new())) }
    }
}

impl<W> Lot<W> {
    fn row<R>(&self, lock: &RawLock, f: impl FnOnce(&mut VecDeque<Place<W>>, usize) -> R) -> R {
        let address = core::ptr::from_ref(lock).addr();
        let row = &self.rows[address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (usize::BITS - 4)];
        // Nothing under this lock panics, so poison carries no news.
        f(&mut row.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), address)
    }

    /// Waits until the lock may be to be had. `late`: the caller was woken before, and was passed.
    pub fn wait<S: Space>(
        &self,
        world: &impl World<S, Waiter = W>,
        lock: &RawLock,
        want: Want,
        late: bool,
    ) {
        let woken = Arc::new(AtomicBool::new(false));
        let waiter = world.waiter();
        let parks = self.row(lock, |row, address| {
            let parks = lock.announce(want);
            if parks {
                let place = Place { lock: address, want, waiter, woken: woken.clone() };
                if late { row.push_front(place) } else { row.push_back(place) }
            }
            parks
        });
        let mut strays = 0;
        // Acquire: pairs with `wake`.
        while parks && !woken.load(Ordering::Acquire) {
            world.park();
            strays += 1;
        }
        if strays > 1 {
            // A permit came that was not ours: whoever left it meant something else.
            world.unpark(&world.waiter());
        }
    }

    /// Wakes who is first, after [`RawLock::leave`] said so.
    #[cold]
    pub fn wake<S: Space>(&self, world: &impl World<S, Waiter = W>, lock: &RawLock) {
        let woken = self.row(lock, |row, address| {
            let first = row.iter().position(|place| place.lock == address);
            let mut out = Vec::new();
            let Some(first) = first else {
                lock.nobody_waits();
                return out;
            };
            match row[first].want {
                Want::Exclusive => out.extend(row.remove(first)),
                Want::Shared => {
                    let joins =
                        |place: &Place<W>| place.lock == address && place.want == Want::Shared;
                    let (readers, rest) = std::mem::take(row).into_iter().partition(joins);
                    *row = rest;
                    out.extend::<VecDeque<_>>(readers);
                }
            }
            if !row.iter().any(|place| place.lock == address) {
                lock.nobody_waits();
            }
            out
        });
        for Place { waiter, woken, .. } in woken {
            // Release: the lock was free before; pairs with `wait`.
            woken.store(true, Ordering::Release);
            world.unpark(&waiter);
        }
    }
}

impl<W> fmt::Debug for Lot<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lot").finish_non_exhaustive()
    }
}
