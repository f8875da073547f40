//! A counted value goes once, with the last share, after all that others did with theirs.
#![cfg(loom)]

use gc_core::counted::Counted;
use loom::cell::UnsafeCell;
use loom::thread;
use loom_tests::model;

/// Looked at through shares, and changed by its end: loom compares the two.
struct Value(UnsafeCell<u32>);

// SAFETY: whether the end comes after every look is what loom checks.
unsafe impl Sync for Value {}

impl Value {
    fn look(&self) {
        // SAFETY: as above.
        self.0.with(|value| assert_eq!(unsafe { *value }, 7));
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: as above.
        self.0.with_mut(|value| unsafe { *value = 0 });
    }
}

#[test]
fn the_last_share_ends_the_value() {
    model("the last share ends the value", 3, || {
        let share = Counted::try_new(Value(UnsafeCell::new(7))).ok().expect("there is memory");
        let others = [share.clone(), share.clone()];
        let others = others.map(|other| thread::spawn(move || other.look()));
        share.look();
        drop(share);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}
