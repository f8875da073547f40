//! Helpers of the marker: never more than may be, also while that changes.
#![cfg(loom)]

use gc_core::mark::Helpers;
use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
// The model's own count, which says who is there by the order in which loom runs things.
use std::sync::atomic::{AtomicUsize, Ordering};

/// Comes if it may, looks how many are there, and goes.
fn help(place: &(Helpers, AtomicUsize), most: usize) {
    let (helpers, there) = place;
    if helpers.come(most) {
        let before = there.fetch_add(1, Ordering::SeqCst);
        assert!(before < most, "{} help, and {most} may", before + 1);
        // Loom switches where it is asked something, and not at the count.
        thread::yield_now();
        there.fetch_sub(1, Ordering::SeqCst);
        helpers.go();
    }
}

#[test]
fn no_more_help_than_may() {
    model("no more help than may", 2, || {
        let place = Arc::new((Helpers::new(), AtomicUsize::new(0)));
        let others = [(1, 2), (2, 1)].map(|(first, then)| {
            let place = place.clone();
            thread::spawn(move || [first, then].into_iter().for_each(|most| help(&place, most)))
        });
        help(&place, 1);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(place.0.come(1), "all are gone");
    });
}
