//! The end of a goroutine and its handle: a joiner is woken and sees the result, which one side drops; a handle that
//! gives up, or goes, leaves no waiter behind.
#![cfg(loom)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use loom_tests::model;
use sched_core::parker::Parker;
use sched_core::task::state::{Complete, DropHandle, Finish, Join, State};

/// A goroutine that ends, and its handle.
struct Ending {
    state: State,
    result: UnsafeCell<usize>,
    /// Where the joiner leaves whom to wake.
    waiter: UnsafeCell<Option<Arc<Parker>>>,
}

impl Ending {
    /// One whose goroutine ends on a thread of its own, which tells whether it dropped the result.
    fn beside() -> (Arc<Self>, JoinHandle<bool>) {
        let state = State::new();
        state.resume();
        let (result, waiter) = (UnsafeCell::new(0), UnsafeCell::new(None));
        let ending = Arc::new(Self { state, result, waiter });
        let goroutine = thread::spawn({
            let ending = ending.clone();
            move || ending.end()
        });
        (ending, goroutine)
    }

    /// Its last steps. Returns true if it dropped the result itself.
    fn end(&self) -> bool {
        // SAFETY: before `complete` the result is the goroutine's; loom checks it.
        self.result.with_mut(|result| unsafe { *result = 7 });
        let detached = self.state.complete() == Complete::Detached;
        if self.state.finish() == Finish::WakeJoiner {
            let waiter = self.take_waiter();
            waiter.expect("the joiner stored it before it announced it").unpark();
        }
        detached
    }

    fn store_waiter(&self, parker: Option<Arc<Parker>>) {
        // SAFETY: unless announced, the place is the handle's; loom checks it.
        self.waiter.with_mut(|waiter| unsafe { *waiter = parker });
    }

    fn take_waiter(&self) -> Option<Arc<Parker>> {
        // SAFETY: after `WakeJoiner` the place is the finisher's, taken back it is the handle's; loom checks it.
        self.waiter.with_mut(|waiter| unsafe { (*waiter).take() })
    }

    fn read_result(&self) -> usize {
        // SAFETY: after the end the result is the handle's; loom checks it.
        self.result.with(|result| unsafe { *result })
    }
}

#[test]
fn a_joiner_is_woken_and_sees_the_result() {
    model("a_joiner_is_woken_and_sees_the_result", 3, || {
        let (ending, goroutine) = Ending::beside();
        let parker = Arc::new(Parker::new());
        ending.store_waiter(Some(parker.clone()));
        if ending.state.set_joiner() == Join::Pending {
            parker.park();
        }
        assert!(ending.state.is_done());
        assert_eq!(ending.read_result(), 7);
        assert!(!goroutine.join().unwrap(), "the result was the handle's");
    });
}

/// A joiner that gives up takes its waiter back, unless the end is using it.
#[test]
fn a_joiner_may_give_up() {
    model("a_joiner_may_give_up", 3, || {
        let (ending, goroutine) = Ending::beside();
        ending.store_waiter(Some(Arc::new(Parker::new())));
        if ending.state.set_joiner() == Join::Pending
            && ending.state.clear_joiner() == Join::Pending
        {
            ending.store_waiter(None);
        }
        goroutine.join().unwrap();
        assert_eq!(ending.read_result(), 7);
    });
}

/// A handle that goes takes its waiter along, unless the end has it.
#[test]
fn a_handle_that_goes_leaves_no_waiter() {
    model("a_handle_that_goes_leaves_no_waiter", 3, || {
        let (ending, goroutine) = Ending::beside();
        let parker = Arc::new(Parker::new());
        ending.store_waiter(Some(parker.clone()));
        if ending.state.set_joiner() == Join::Pending {
            let DropHandle { result, joiner } = ending.state.drop_handle();
            if result {
                assert_eq!(ending.read_result(), 7);
            }
            match joiner {
                true => assert!(ending.take_waiter().is_some(), "the end has taken it"),
                false => parker.park(),
            }
            assert!(goroutine.join().unwrap() != result, "both or neither");
        } else {
            drop(ending.take_waiter());
            goroutine.join().unwrap();
        }
        assert!(ending.take_waiter().is_none(), "it is left");
    });
}

#[test]
fn a_result_is_dropped_by_one_side() {
    model("a_result_is_dropped_by_one_side", 3, || {
        let (ending, goroutine) = Ending::beside();
        let by_handle = ending.state.drop_handle().result;
        if by_handle {
            assert_eq!(ending.read_result(), 7);
        }
        assert!(goroutine.join().unwrap() != by_handle, "both or neither");
    });
}
