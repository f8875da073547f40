//! [`CleanupQueue`]: news of deaths.
//!
//! # Problem
//!
//! Something outside the heap belongs to an object in it: a descriptor, an entry of a table, a count.
//! When the object is gone somebody wants to know. Not the object itself: it is dead, and what it
//! leads to may be gone before it, so there is nothing it could do; and not in sweep, which runs no
//! user code.
//!
//! # Shape
//!
//! A queue ties a *token*, a value of the user's, to an object. When the object has died the token
//! comes out of the queue, at a place and time that the user chooses: [`CleanupQueue::try_take`] or
//! [`CleanupQueue::take`]. Nothing comes back to life, and no order between deaths is promised. A token
//! that itself keeps the object alive, by a [`Root`](crate::Root), is never seen.
//!
//! # How
//!
//! As with weak pointers, in two parts. Before hand 3 of a round that has marked nothing, the driver *sifts* all
//! entries: those whose object is marked are done with in this cycle, for a mark stays until sweep. In step 7 it goes
//! through the others, and moves the tokens of those whose object is white and old. So the time from step 7 to hand
//! 4, in which allocators must take fresh spans, grows with the number of those that died. An entry that comes after
//! the sifting began is left for the next cycle: who registers holds the object, while marking goes on or later,
//! and what anybody holds then outlives the cycle.
//!
//! Between two cycles an entry's address is of an object that the last one did not free, or that is newer. Entries
//! are gone through in pieces, with a pause between two.
//!
//! Two locks. The driver goes through the entries under one that nobody else takes but the queue's own
//! end; registering and taking use the other, which is held for a push or a pop. So tokens are never
//! in the driver's hands alone, and are never dropped by it: a token's destructor is user code.
//!
//! # Without memory
//!
//! Registering may fail, and says so. The driver may not: new entries that it has no room for are looked at
//! where they are, under the other lock; and a token that has no place in the queue yet waits in its entry,
//! or in a list of such, for the next cycle.
//!
//! # Who waits is woken
//!
//! A taker looks for a token and puts itself on the list under one lock; a token comes in, and the list
//! out, under the same. Either the taker is first and is on the list, or the token is first and the
//! taker finds it. Its place in the list is on its own stack (`waiters`). Model:
//! `loom-tests/tests/gc_cleanup.rs`.

mod known;
mod queues;

use self::known::{Entry, Known, Survives};
#[doc(hidden)]
pub use self::queues::Cleanups;
use crate::{
    Plain,
    counted::Counted,
    error::{AllocError, HeapError},
    guard::Guard,
    handle::Gc,
    heap::{Heap, Tag},
    space::Exhausted,
    sync::Mutex,
    waiters::{Place, Waiters},
    world::World,
};
use core::{fmt, mem, ptr::NonNull};
use std::collections::VecDeque;

/// A queue of tokens whose objects have died. See the [module](self).
///
/// ```
/// use gc_core::{CleanupQueue, Heap, Plain};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let closed = CleanupQueue::new(&heap);
/// let kept = {
///     let guard = heap.enter();
///     let (one, two) = (guard.alloc(1u64), guard.alloc(2u64));
///     closed.register(&guard, one, "one");
///     closed.register(&guard, two, "two");
///     guard.root(two)
/// };
/// heap.collect().unwrap();
/// assert_eq!((closed.try_take(), closed.try_take()), (Some("one"), None));
/// drop(kept);
/// heap.collect().unwrap();
/// assert_eq!(closed.take(), Ok("two"));
/// ```
///
/// The queue keeps the heap. Tokens that were not taken are dropped with it.
pub struct CleanupQueue<K: Send + 'static, H: Tag = Plain> {
    heap: Heap<H>,
    entries: Counted<Entries<K, WaiterOf<H>>>,
}

pub(crate) type WaiterOf<H> = <<H as Tag>::World as World<<H as Tag>::Space>>::Waiter;

impl<K: Send + 'static, H: Tag> CleanupQueue<K, H> {
    /// An empty queue.
    ///
    /// ```
    /// use gc_core::{CleanupQueue, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let (files, counters) = (CleanupQueue::new(&heap), CleanupQueue::new(&heap));
    /// {
    ///     let guard = heap.enter();
    ///     let object = guard.alloc(7u64);
    ///     files.register(&guard, object, "a path");
    ///     counters.register(&guard, object, 1);
    /// }
    /// heap.collect().unwrap();
    /// assert_eq!((files.try_take(), counters.try_take()), (Some("a path"), Some(1)));
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no memory for one; [`try_new`](Self::try_new) returns that as a value.
    pub fn new(heap: &Heap<H>) -> Self {
        Self::try_new(heap).unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// An empty queue.
    ///
    /// # Errors
    ///
    /// [`HeapError::Memory`]
    ///
    /// ```
    /// use gc_core::{CleanupQueue, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let dead = CleanupQueue::<&str>::try_new(&heap).unwrap();
    /// assert_eq!(dead.watched(), 0);
    /// ```
    pub fn try_new(heap: &Heap<H>) -> Result<Self, HeapError> {
        let entries = Counted::try_new(Entries::default()).map_err(|_| Exhausted)?;
        heap.core().cleanups.add(&entries)?;
        Ok(Self { heap: heap.clone(), entries })
    }

    /// Ties a token to an object. An object may have many.
    ///
    /// # Panics
    ///
    /// If there is no memory for an entry; [`try_register`](Self::try_register) returns that as a value.
    ///
    /// ```
    /// use gc_core::{CleanupQueue, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let dead = CleanupQueue::new(&heap);
    /// {
    ///     let guard = heap.enter();
    ///     let object = guard.alloc(7u64);
    ///     dead.register(&guard, object, "first");
    ///     dead.register(&guard, object, "second");
    /// }
    /// heap.collect().unwrap();
    /// let mut told = [dead.try_take(), dead.try_take()];
    /// told.sort();
    /// assert_eq!(told, [Some("first"), Some("second")], "in no order");
    /// ```
    pub fn register<T: ?Sized>(&self, guard: &Guard<'_, H>, object: Gc<'_, T, H>, token: K) {
        self.try_register(guard, object, token).unwrap_or_else(|refused| refused.panic());
    }

    /// Ties a token to an object.
    ///
    /// # Errors
    ///
    /// [`AllocError`] with the token, if there is no memory for an entry.
    ///
    /// ```
    /// use gc_core::{CleanupQueue, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let dead = CleanupQueue::new(&heap);
    /// let registered = dead.try_register(&heap.enter(), heap.enter().alloc(7u64), "seven");
    /// assert!(registered.is_ok() && dead.watched() == 1);
    /// ```
    pub fn try_register<T: ?Sized>(
        &self,
        _guard: &Guard<'_, H>,
        object: Gc<'_, T, H>,
        token: K,
    ) -> Result<(), AllocError<K>> {
        self.entries.add(object.cell(), token).map_err(AllocError::new)
    }

    /// A token whose object has died.
    ///
    /// ```
    /// use gc_core::{CleanupQueue, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let dead = CleanupQueue::new(&heap);
    /// dead.register(&heap.enter(), heap.enter().alloc(7u64), 7);
    /// assert_eq!(dead.try_take(), None, "nobody has looked yet");
    /// heap.collect().unwrap();
    /// assert_eq!((dead.try_take(), dead.try_take()), (Some(7), None));
    /// ```
    pub fn try_take(&self) -> Option<K> {
        self.entries.take()
    }

    /// Waits for a token whose object has died. Somebody has to collect meanwhile.
    ///
    /// # Errors
    ///
    /// [`HeapError::InsideGuard`]: the collection would wait for the caller's guard.
    ///
    /// ```
    /// use gc_core::{CleanupQueue, Collector, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let collector = Collector::start(&heap).unwrap();
    /// let closed = CleanupQueue::new(&heap);
    /// {
    ///     let guard = heap.enter();
    ///     closed.register(&guard, guard.alloc(3u64), "descriptor 3");
    /// }
    /// assert_eq!(closed.watched(), 1);
    /// heap.request();
    /// assert_eq!(closed.take(), Ok("descriptor 3"));
    /// assert_eq!(closed.watched(), 0);
    /// ```
    pub fn take(&self) -> Result<K, HeapError> {
        if self.heap.is_inside_guard() {
            return Err(HeapError::InsideGuard);
        }
        let world = self.heap.world();
        // SAFETY: worlds promise it (rule 4).
        Ok(unsafe {
            self.entries.wait(|| world.waiter(), || world.park(), |waiter| world.unpark(&waiter))
        })
    }

    /// How many objects are watched.
    pub fn watched(&self) -> usize {
        self.entries.watched()
    }
}

impl<K: Send + 'static, H: Tag> Drop for CleanupQueue<K, H> {
    fn drop(&mut self) {
        drop(self.entries.close());
    }
}

impl<K: Send + 'static, H: Tag> fmt::Debug for CleanupQueue<K, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CleanupQueue").field("watched", &self.watched()).finish_non_exhaustive()
    }
}

struct Desk<K, W> {
    fresh: Vec<Entry<K>>,
    ready: VecDeque<K>,
    waiting: Waiters<W, ()>,
}

/// All that a queue shares with the driver.
#[doc(hidden)]
pub struct Entries<K, W> {
    desk: Mutex<Desk<K, W>>,
    /// Those that outlived a cycle. Used by the driver, and by the queue's end.
    known: Mutex<Known<K>>,
}

impl<K, W> Default for Entries<K, W> {
    fn default() -> Self {
        let (fresh, ready, waiting) = (Vec::new(), VecDeque::new(), Waiters::default());
        let desk = Desk { fresh, ready, waiting };
        Self { desk: Mutex::new(desk), known: Mutex::new(Known::new()) }
    }
}

impl<K: Send, W: Send> Entries<K, W> {
    fn desk<R>(&self, f: impl FnOnce(&mut Desk<K, W>) -> R) -> R {
        locked(&self.desk, f)
    }

    /// Ties a token to an object that a guard keeps during the call.
    ///
    /// # Errors
    ///
    /// The token, if there is no memory for an entry.
    pub fn add(&self, cell: NonNull<u8>, token: K) -> Result<(), K> {
        self.desk(|desk| {
            if desk.fresh.try_reserve(1).is_err() {
                return Err(token);
            }
            desk.fresh.push(Entry { cell: Some(cell), token });
            Ok(())
        })
    }

    /// A token whose object has died.
    pub fn take(&self) -> Option<K> {
        self.desk(|desk| desk.ready.pop_front())
    }

    /// Waits for a token whose object has died.
    ///
    /// # Safety
    ///
    /// `park` does not unwind, nor does `waiter`, which names the calling task, nor `wake`, which gives it a permit.
    pub unsafe fn wait(&self, waiter: impl Fn() -> W, park: impl Fn(), wake: impl Fn(W)) -> K {
        loop {
            let place = Place::new(waiter(), ());
            let token = self.desk(|desk| {
                let token = desk.ready.pop_front();
                if token.is_none() {
                    // SAFETY: the place is waited for below, and nothing unwinds before.
                    unsafe { desk.waiting.put_last(NonNull::from(&place)) };
                }
                token
            });
            if let Some(token) = token {
                return token;
            }
            if place.wait(&park) {
                // Whoever left a permit that was not ours meant something else.
                wake(waiter());
            }
        }
    }

    fn watched(&self) -> usize {
        locked(&self.known, |known| known.entries.len()) + self.desk(|desk| desk.fresh.len())
    }

    /// Takes everything out, for good: the queue's own end. Under both locks at once: else a driver makes known
    /// what is new in between, where nobody looks any more, and drops it with its share of the queue.
    pub fn close(&self) -> impl Sized + use<K, W> {
        locked(&self.known, |known| {
            let known = (mem::take(&mut known.entries), mem::take(&mut known.dead));
            self.desk(|desk| (known, mem::take(&mut desk.fresh), mem::take(&mut desk.ready)))
        })
    }

    /// Before hand 3: sets those aside whose objects are marked by now. `pause` is called between two pieces, and
    /// no lock is held meanwhile.
    pub fn sift(&self, is_marked: Survives<'_>, pause: &mut dyn FnMut()) {
        locked(&self.known, |known| self.desk(|desk| known.begin(&mut desk.fresh)));
        while locked(&self.known, |known| known.sift(is_marked)) {
            pause();
        }
    }

    /// Step 7: moves the tokens of the dead, of those that sifting left. `survives` says what this cycle does not
    /// free; `wake` gives a permit to one who waits; `pause` is as for [`sift`](Self::sift).
    pub fn bury(&self, survives: Survives<'_>, wake: &dyn Fn(W), pause: &mut dyn FnMut()) {
        locked(&self.known, Known::end);
        while self.bury_piece(survives, wake) {
            pause();
        }
    }

    /// The tokens of a piece of the entries; whether there is more.
    fn bury_piece(&self, survives: Survives<'_>, wake: &dyn Fn(W)) -> bool {
        let (waiting, more) = locked(&self.known, |known| {
            let more = known.look(survives)
                || self.desk(|desk| known.look_at_new(&mut desk.fresh, survives));
            let waiting = self.desk(|desk| {
                known.deliver(&mut desk.ready);
                desk.waiting.take(|()| !desk.ready.is_empty())
            });
            (waiting, more)
        });
        waiting.tell(wake);
        more
    }
}

impl<K, W> fmt::Debug for Entries<K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}

fn locked<T, R>(mutex: &Mutex<T>, f: impl FnOnce(&mut T) -> R) -> R {
    // Nothing under these locks panics, so poison carries no news.
    f(&mut mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
}
