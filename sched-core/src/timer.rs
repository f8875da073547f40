//! Deadlines, earliest first.
//!
//! # Problem
//!
//! A hundred thousand goroutines sleep, each until a time of its own, and most network deadlines are
//! cancelled before they come. Needed: the earliest, insertion and cancellation in O(log n), and no
//! allocation, since callers are inside the runtime and hold a lock.
//!
//! # Structure
//!
//! A 4-ary heap in one array: node *i* has children 4*i* + 1 … 4*i* + 4. Four children lie in one or
//! two cache lines and halve the depth of a binary heap; 100,000 timers are nine levels. An entry
//! holds its deadline beside the item, so that sifting does not touch the sleepers' own pages.
//!
//! The heap tells each item its place ([`Timed::set_place`]) whenever it moves, so that it can be
//! cancelled from there. The array does not grow by itself: the caller provides room beforehand
//! ([`Timers::enlarge`] with a [`Storage`] made outside the runtime), for instance one place per
//! goroutine record.
//!
//! # Protection
//!
//! None of its own: `&mut`, from the caller's lock ([`crate::driver`]).
//!
//! # Source
//!
//! Go's per-P 4-ary heap (`time.go`). Turned down: Go's lazy deletion (zombies, cleaned at a
//! quarter), which spares the caller's P a lock of another P: here is one heap with one lock. A
//! pairing heap linked through the sleepers: needs no room, but a pop after *n* insertions is O(n)
//! under the lock, over cold stacks. A timing wheel: a tick is either coarse or costs wake-ups.

use core::fmt;

/// Children of a node.
const WIDTH: usize = 4;

/// Something that knows its place in [`Timers`].
pub trait Timed {
    /// It has moved to `place`, or is out of the heap. Called with the heap in the hand: it must
    /// only store the number.
    fn set_place(&self, place: Option<usize>);
}

impl<T: Timed + ?Sized> Timed for &T {
    fn set_place(&self, place: Option<usize>) {
        (**self).set_place(place);
    }
}

impl<T: Timed + ?Sized> Timed for std::sync::Arc<T> {
    fn set_place(&self, place: Option<usize>) {
        (**self).set_place(place);
    }
}

struct Entry<T> {
    deadline: u64,
    item: T,
}

/// Room for entries, allocated where allocation is allowed and freed there as well.
pub struct Storage<T>(Vec<Entry<T>>);

impl<T> Storage<T> {
    /// Room for `places` timers.
    pub fn new(places: usize) -> Self {
        Self(Vec::with_capacity(places))
    }

    /// How many timers fit.
    pub fn places(&self) -> usize {
        self.0.capacity()
    }
}

impl<T> fmt::Debug for Storage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("places", &self.places()).finish_non_exhaustive()
    }
}

/// A heap of deadlines, in nanoseconds of [`crate::sync::now`] or of any other clock.
///
/// ```
/// use core::cell::Cell;
/// use sched_core::timer::{Storage, Timed, Timers};
///
/// struct Sleeper { name: &'static str, place: Cell<Option<usize>> }
/// impl Timed for Sleeper {
///     fn set_place(&self, place: Option<usize>) { self.place.set(place); }
/// }
/// let sleeper = |name| Sleeper { name, place: Cell::new(None) };
/// let (late, early, never) = (sleeper("late"), sleeper("early"), sleeper("never"));
///
/// let mut timers = Timers::new(Storage::new(3));
/// assert!(timers.insert(20, &late).is_ok() && timers.insert(5, &early).is_ok());
/// assert!(timers.insert(30, &never).is_ok());
/// assert!(timers.insert(40, &never).is_err(), "no room");
///
/// timers.cancel(never.place.get().expect("it is in the heap"));
/// assert_eq!(timers.earliest(), Some(5));
/// assert_eq!(timers.pop_due(10).map(|sleeper| sleeper.name), Some("early"));
/// assert!(timers.pop_due(10).is_none());
/// assert_eq!(timers.pop_due(20).map(|sleeper| sleeper.name), Some("late"));
/// ```
pub struct Timers<T: Timed> {
    heap: Vec<Entry<T>>,
}

impl<T: Timed> Timers<T> {
    /// No timers, in `storage`.
    pub fn new(storage: Storage<T>) -> Self {
        Self { heap: storage.0 }
    }

    /// How many timers there are.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// How many there can be.
    pub fn places(&self) -> usize {
        self.heap.capacity()
    }

    /// Moves into `storage` if it is larger, and gives back the smaller, empty one, to be freed
    /// outside. O(n).
    pub fn enlarge(&mut self, mut storage: Storage<T>) -> Storage<T> {
        if storage.places() > self.places() {
            storage.0.append(&mut self.heap);
            core::mem::swap(&mut self.heap, &mut storage.0);
        }
        storage
    }

    /// The earliest deadline.
    pub fn earliest(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Adds `item`; gives it back if there is no room. O(log n).
    pub fn insert(&mut self, deadline: u64, item: T) -> Result<(), T> {
        if self.heap.len() == self.heap.capacity() {
            return Err(item);
        }
        self.heap.push(Entry { deadline, item });
        self.sift_up(self.heap.len() - 1);
        Ok(())
    }

    /// Takes out the item at `place`, as [`Timed::set_place`] told it. O(log n).
    pub fn cancel(&mut self, place: usize) -> T {
        debug_assert!(place < self.heap.len(), "place {place} of {}", self.heap.len());
        let entry = self.heap.swap_remove(place);
        entry.item.set_place(None);
        if place < self.heap.len() {
            // The last one came here: it may belong higher or lower.
            self.sift_down(place);
            self.sift_up(place);
        }
        entry.item
    }

    /// Takes out the earliest item if its deadline is not after `now`. O(log n).
    pub fn pop_due(&mut self, now: u64) -> Option<T> {
        (self.earliest()? <= now).then(|| self.cancel(0))
    }

    fn sift_up(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / WIDTH;
            if self.heap[parent].deadline <= self.heap[place].deadline {
                break;
            }
            self.heap.swap(parent, place);
            self.tell(place);
            place = parent;
        }
        self.tell(place);
    }

    fn sift_down(&mut self, mut place: usize) {
        while let Some(child) = self.first_child(place) {
            if self.heap[place].deadline <= self.heap[child].deadline {
                break;
            }
            self.heap.swap(place, child);
            self.tell(place);
            place = child;
        }
        self.tell(place);
    }

    /// The child with the earliest deadline.
    fn first_child(&self, place: usize) -> Option<usize> {
        let first = place * WIDTH + 1;
        let end = (first + WIDTH).min(self.heap.len());
        (first..end).min_by_key(|&child| self.heap[child].deadline)
    }

    fn tell(&self, place: usize) {
        self.heap[place].item.set_place(Some(place));
    }
}

impl<T: Timed> fmt::Debug for Timers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers")
            .field("len", &self.len())
            .field("earliest", &self.earliest())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::cell::Cell;
    use proptest::prelude::*;
    use std::rc::Rc;

    #[derive(Debug)]
    struct Node {
        id: usize,
        place: Cell<Option<usize>>,
    }

    impl Timed for Rc<Node> {
        fn set_place(&self, place: Option<usize>) {
            self.place.set(place);
        }
    }

    fn node(id: usize) -> Rc<Node> {
        Rc::new(Node { id, place: Cell::new(None) })
    }

    #[test]
    fn room_is_given_and_never_made() {
        let mut timers = Timers::new(Storage::new(2));
        let places = timers.places();
        for id in 0..places {
            timers.insert(id as u64, node(id)).expect("there is room");
        }
        let back = timers.insert(9, node(99)).expect_err("it is full");
        assert_eq!(back.id, 99);

        let old = timers.enlarge(Storage::new(places + 10));
        assert_eq!((old.places(), timers.len()), (places, places));
        timers.insert(9, back).expect("there is room now");
        let small = timers.enlarge(Storage::new(1));
        assert_eq!(small.places(), 1, "a smaller one is refused");
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u64),
        /// The n-th of those in the heap.
        Cancel(usize),
        Pop(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..100_u64).prop_map(Step::Insert),
            2 => any::<usize>().prop_map(Step::Cancel),
            1 => (0..100_u64).prop_map(Step::Pop),
        ];
        proptest::collection::vec(step, 0..300)
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_list(steps in steps()) {
            let mut timers = Timers::new(Storage::new(300));
            let mut list: Vec<(u64, Rc<Node>)> = Vec::new();
            for (id, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(deadline) => {
                        list.push((deadline, node(id)));
                        prop_assert!(timers.insert(deadline, list[list.len() - 1].1.clone()).is_ok());
                    }
                    Step::Cancel(_) if list.is_empty() => {}
                    Step::Cancel(n) => {
                        let (_, item) = list.swap_remove(n % list.len());
                        let place = item.place.get().expect("it is in the heap");
                        prop_assert_eq!(timers.cancel(place).id, item.id);
                        prop_assert_eq!(item.place.get(), None);
                    }
                    Step::Pop(now) => {
                        list.sort_by_key(|(deadline, _)| *deadline);
                        match timers.pop_due(now) {
                            None => prop_assert!(list.first().is_none_or(|(first, _)| *first > now)),
                            Some(item) => {
                                let at = list.iter().position(|(_, other)| other.id == item.id);
                                let (deadline, _) = list.remove(at.expect("it was inserted"));
                                prop_assert!(deadline <= now);
                                prop_assert!(list.iter().all(|(other, _)| *other >= deadline));
                            }
                        }
                    }
                }
                let earliest = list.iter().map(|(deadline, _)| *deadline).min();
                prop_assert_eq!(timers.earliest(), earliest);
                for (place, entry) in timers.heap.iter().enumerate() {
                    prop_assert_eq!(entry.item.place.get(), Some(place));
                }
            }
        }
    }
}
