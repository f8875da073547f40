//! A cleanup queue: no token lies ready beside a taker that sleeps, each is taken once, and none is left to the
//! driver when the queue ends. A token that does not come is of an object that lives.
#![cfg(loom)]

use core::ptr::NonNull;
use gc_core::cleanup::Entries;
use gc_core::counted::Counted;
use gc_core::handshake::Pin;
use gc_core::mark::Marker;
use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
use loom_tests::tiny::{A, B, Heap, Mutator, mark_and_sweep, mutate, root};
use std::sync;

type Queue = Entries<usize, thread::Thread>;

fn queue() -> Arc<Queue> {
    Arc::default()
}

fn wake(taker: thread::Thread) {
    taker.unpark();
}

fn take(queue: &Queue) -> usize {
    // SAFETY: a park unwinds when the model has failed, and then no other thread goes on.
    unsafe { queue.wait(thread::current, thread::park, wake) }
}

fn cell() -> NonNull<u8> {
    NonNull::dangling()
}

/// A cycle that finds nothing marked.
fn bury_all(queue: &Queue) {
    queue.sift(&|_| false, &mut || ());
    queue.bury(&|_| false, &wake, &mut || ());
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
        bury_all(&queue);
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
            move || bury_all(&queue)
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
            let queue: Arc<Entries<_, thread::Thread>> = Arc::default();
            queue.add(cell(), token.clone()).unwrap();
            let driver = thread::spawn({
                let queue = queue.clone();
                move || {
                    queue.sift(&|_| survives, &mut || ());
                    queue.bury(&|_| survives, &wake, &mut || ());
                    queue
                }
            });
            drop(queue.close());
            assert_eq!(sync::Arc::strong_count(&token), 1, "a token is left to the driver");
            drop(driver.join().unwrap());
        });
    }
}

/// A mutator registers an object that it alone holds, while a cycle begins or ends: the token comes, or the object
/// outlives the cycle.
fn registered_beside_a_cycle(from_the_start: bool, object: usize, make: fn(&Mutator<'_>, Pin)) {
    let heap = Heap::new(false, 1, 1);
    root(&heap);
    let queue = Counted::try_new(Entries::default()).expect("there is memory");
    heap.cleanups.add(&queue).unwrap();
    let registers = {
        let queue = queue.clone();
        move |me: Mutator<'_>| {
            me.guard(|pin| {
                make(&me, pin);
                queue.add(me.heap.cell(object), ()).unwrap();
            });
        }
    };
    let mut marker = Marker::default();
    let mut cycle = heap.cycle(&mut marker, |_| ());
    let early = from_the_start.then(|| mutate(&heap, 0, registers.clone()));
    cycle.start(false);
    cycle.shade_roots();
    let mutator = early.unwrap_or_else(|| mutate(&heap, 0, registers));
    mark_and_sweep(&mut cycle, &heap);
    mutator.join().unwrap();
    if queue.take().is_none() {
        let me = Mutator { heap: &heap, local: &heap.world.0[0] };
        me.guard(|_| me.look(heap.cell(object)));
    }
}

/// The one free cell.
const NEW: usize = 4;

/// White, under a guard that hand 2 waits for.
#[test]
fn an_entry_for_a_new_object() {
    model("an entry for a new object", 1, || {
        registered_beside_a_cycle(true, NEW, |me, pin| {
            assert!(me.alloc(pin) == me.heap.cell(NEW));
        });
    });
}

#[test]
fn an_entry_for_what_was_taken_out() {
    model("an entry for what was taken out", 2, || {
        registered_beside_a_cycle(false, B, |me, _| {
            assert!(me.swap(me.heap.cell(A), None) == Some(me.heap.cell(B)));
        });
    });
}
