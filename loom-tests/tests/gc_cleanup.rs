//! A cleanup queue: no token lies ready beside a taker that sleeps, each is taken once, and none is left to the
//! driver when the queue ends.
#![cfg(loom)]

use core::ptr::NonNull;
use gc_core::cleanup::Entries;
use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
use std::sync;

type Queue = Entries<usize, thread::Thread>;

fn queue() -> Arc<Queue> {
    Arc::new(Entries::new(|taker: thread::Thread| taker.unpark()))
}

fn take(queue: &Queue) -> usize {
    // SAFETY: a park unwinds when the model has failed, and then no other thread goes on.
    unsafe { queue.wait(thread::current, thread::park) }
}

fn cell() -> NonNull<u8> {
    NonNull::dangling()
}

#[test]
fn a_taker_is_woken() {
    model("a taker is woken", 3, || {
        let queue = queue();
        queue.add(cell(), 7).unwrap();
        let taker = thread::spawn({
            let queue = queue.clone();
            move || take(&queue)
        });
        queue.bury(&|_| false, &mut || ());
        assert_eq!(taker.join().unwrap(), 7);
    });
}

#[test]
fn each_token_is_taken_once() {
    model("each token is taken once", 2, || {
        let queue = queue();
        queue.add(cell(), 1).unwrap();
        queue.add(cell(), 2).unwrap();
        let other = thread::spawn({
            let queue = queue.clone();
            move || take(&queue)
        });
        let driver = thread::spawn({
            let queue = queue.clone();
            move || queue.bury(&|_| false, &mut || ())
        });
        let mine = take(&queue);
        driver.join().unwrap();
        assert_eq!(mine + other.join().unwrap(), 3);
        assert_eq!(queue.take(), None);
    });
}

/// Whoever ends a queue drops its tokens, also if a driver goes through them meanwhile and has a share of the queue
/// for longer.
#[test]
fn a_queue_that_ends_drops_its_tokens() {
    for survives in [true, false] {
        model("a queue that ends drops its tokens", 3, move || {
            let token = sync::Arc::new(());
            let queue: Arc<Entries<_, thread::Thread>> = Arc::new(Entries::new(|_| ()));
            queue.add(cell(), token.clone()).unwrap();
            let driver = thread::spawn({
                let queue = queue.clone();
                move || {
                    queue.bury(&|_| survives, &mut || ());
                    queue
                }
            });
            drop(queue.close());
            assert_eq!(sync::Arc::strong_count(&token), 1, "a token is left to the driver");
            drop(driver.join().unwrap());
        });
    }
}
