//! The table of local states: what is found is whole, each number has one value, and a walk past the barrier of guards
//! finds whoever counts on being found.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::thread;
use loom_tests::model;
use runtime::table::Table;

/// A value that is written once, before it is put there: loom compares that with every look.
struct Value(UnsafeCell<usize>);

// SAFETY: whether it is whole for whoever finds it is what loom checks.
unsafe impl Sync for Value {}

impl Value {
    fn new(number: usize) -> Box<Self> {
        let value = Box::new(Value(UnsafeCell::new(0)));
        // SAFETY: nobody else has it yet.
        value.0.with_mut(|place| unsafe { *place = number });
        value
    }

    fn number(&self) -> usize {
        // SAFETY: as above.
        self.0.with(|place| unsafe { *place })
    }
}

/// Two chunks.
type Numbers = Table<Value, 2>;

/// As a P's first use does. False if somebody was first.
fn offer(table: &Numbers, number: usize) -> bool {
    assert!(table.grow(number));
    table.put(number, Value::new(number)).is_none()
}

fn all(table: &Numbers) -> Vec<usize> {
    let mut numbers = Vec::new();
    table.each(&mut |value| numbers.push(value.number()));
    numbers
}

/// Who looks meanwhile finds nothing or all of it. There is room already: a look at a place that the other side has
/// looked at last is not tried at other times by loom.
#[test]
fn a_value_is_whole_for_whoever_finds_it() {
    model("a value is whole for whoever finds it", 3, || {
        let table = Arc::new(Numbers::new());
        assert!(table.grow(3));
        let maker = thread::spawn({
            let table = table.clone();
            move || assert!(offer(&table, 3))
        });
        assert!(table.get(3).is_none_or(|value| value.number() == 3));
        let found = all(&table);
        assert!(found.is_empty() || found == [3], "{found:?}");
        maker.join().unwrap();
        assert!(table.get(2).is_none() && all(&table) == [3]);
    });
}

/// Two at once in one chunk, each of which makes it.
#[test]
fn no_chunk_takes_the_place_of_another() {
    model("no chunk takes the place of another", 3, || {
        let table = Arc::new(Numbers::new());
        let other = thread::spawn({
            let table = table.clone();
            move || assert!(offer(&table, 0))
        });
        assert!(offer(&table, 1));
        other.join().unwrap();
        assert_eq!(all(&table), [0, 1]);
    });
}

/// Two goroutines that were on one P, one after the other, offer it a value each.
#[test]
fn a_number_has_one_value() {
    model("a number has one value", 3, || {
        let table = Arc::new(Numbers::new());
        let use_it = |table: &Numbers| {
            let mine = offer(table, 0);
            (mine, std::ptr::from_ref(table.get(0).expect("one of the two")).addr())
        };
        let other = thread::spawn({
            let table = table.clone();
            move || use_it(&table)
        });
        let (mine, found) = use_it(&table);
        let (theirs, found_by_them) = other.join().unwrap();
        assert!(mine != theirs && found == found_by_them);
    });
}

/// A guard that counts in a new value reads the old epoch, or the driver finds the value.
#[test]
fn who_is_not_found_reads_the_new_epoch() {
    model("who is not found reads the new epoch", 3, || {
        let world = Arc::new((Numbers::new(), AtomicUsize::new(0)));
        let guard = thread::spawn({
            let world = world.clone();
            move || {
                assert!(offer(&world.0, 2));
                fence(Ordering::SeqCst);
                world.1.load(Ordering::Relaxed) == 0
            }
        });
        world.1.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let found = all(&world.0) == [2];
        let counts_in_the_old = guard.join().unwrap();
        assert!(found || !counts_in_the_old);
    });
}
