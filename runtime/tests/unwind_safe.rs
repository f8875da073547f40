//! What can be used on both sides of a `catch_unwind` without an assertion. That it compiles is the test.

use std::cell::Cell;
use std::panic::{RefUnwindSafe, UnwindSafe};

use runtime::chan::{IntoIter, Receiver, Sender};
use runtime::sync::{Mutex, WaitGroup};
use runtime::time::{Ticker, Timer};
use runtime::{GoError, Runtime, Shutdown};

fn by_value<T: UnwindSafe>() {}
fn both<T: UnwindSafe + RefUnwindSafe>() {}

#[test]
fn what_a_panic_leaves_whole_may_be_used_after_it() {
    // Whatever travels: a value in a channel is seen by nobody.
    both::<Sender<Cell<u8>>>();
    both::<Receiver<Cell<u8>>>();
    both::<IntoIter<Cell<u8>>>();
    both::<WaitGroup>();
    both::<Timer>();
    both::<Ticker>();
    both::<Runtime>();
    both::<Shutdown>();
    both::<GoError>();
}

#[test]
fn a_mutex_is_as_its_value_and_not_by_reference() {
    by_value::<Mutex<u8>>();
    // Ambiguous, and an error therefore, if a reference to a mutex were `UnwindSafe`.
    trait Not<Witness> {
        fn holds() {}
    }
    impl<T: ?Sized> Not<()> for T {}
    impl<T: ?Sized + RefUnwindSafe> Not<u8> for T {}
    <Mutex<u8> as Not<_>>::holds();
}
