//! What each policy promises.

use gc_core::{
    Gc, GcCell, Guard, Heap, HeapError, Root, Trace,
    cycle::Pause,
    pacer::{Every, Facts, Gogc, Pacer, Target},
    policy::{Collection, WriteBarrier},
    space::blocks::Blocks,
    world::threads::Threads,
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

macro_rules! node {
    ($tag:ident) => {
        gc_core::tag! { struct $tag; }

        #[derive(Trace)]
        #[trace(heap = $tag)]
        struct Node<'g> {
            next: GcCell<'g, Node<'g>, $tag>,
        }

        #[allow(dead_code, reason = "not every test allocates")]
        fn node<'g>(guard: &'g Guard<'_, $tag>) -> Gc<'g, Node<'g>, $tag> {
            guard.alloc(Node { next: GcCell::null() })
        }
    };
}

/// A guard that is asked for while the world is stopped is entered when it goes on: whoever held a guard
/// before sees the new one's thread wait, and the collector ends without it.
#[test]
fn a_stopped_world_lets_nobody_in() {
    node!(Stops);
    let heap: Heap<Stops> = Heap::builder()
        .checkmark(true)
        .collection(Collection::StopTheWorld)
        .slice(1)
        .build(Blocks::new(), Threads::new())
        .unwrap();
    let list: Root<Node<'static>, Stops> = {
        let guard = heap.enter();
        let mut first = node(&guard);
        for _ in 0..100 {
            let next = node(&guard);
            next.next.set(&guard, Some(first));
            first = next;
        }
        guard.root(first)
    };
    let entered = AtomicUsize::new(0);
    thread::scope(|scope| {
        let mut waiting = Vec::new();
        let mut pauses = 0;
        // One object per slice: between them others have all the time in the world.
        heap.collect_with(|_| {
            pauses += 1;
            if pauses == 10 {
                let (tell, told) = mpsc::channel();
                let (heap, entered) = (&heap, &entered);
                let enter = move || {
                    tell.send(()).unwrap();
                    drop(heap.enter());
                    entered.fetch_add(1, Ordering::Relaxed);
                };
                waiting.push(scope.spawn(enter));
                told.recv().unwrap();
            }
            thread::yield_now();
            assert_eq!(entered.load(Ordering::Relaxed), 0, "somebody came in");
        })
        .unwrap();
        assert!(pauses > 50, "{pauses} slices");
        waiting.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(entered.load(Ordering::Relaxed), 1, "nobody is forgotten");
    drop(list);
}

/// Whoever holds a guard may wait for a lock of one who waits at the gate.
#[test]
fn a_world_that_cannot_stop_goes_on() {
    node!(Locks);
    let heap: Heap<Locks> = Heap::builder()
        .checkmark(true)
        .collection(Collection::StopTheWorld)
        .build(Blocks::new(), Threads::new())
        .unwrap();
    let lock = Arc::new(Mutex::new(0));
    let (holds, held) = mpsc::channel();
    thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let guard = heap.enter();
            holds.send(()).unwrap();
            // Comes back when the other has waited long enough, and gone on.
            while *lock.lock().unwrap() == 0 {
                thread::yield_now();
            }
            drop(guard);
        });
        held.recv().unwrap();
        let collector = scope.spawn(|| heap.collect().unwrap());
        let mut value = lock.lock().unwrap();
        while heap.waiting().is_none() && !collector.is_finished() {
            thread::yield_now();
        }
        // With the lock, through a gate that is closing.
        drop(heap.enter());
        *value = 1;
        drop(value);
        holder.join().unwrap();
        collector.join().unwrap();
    });
}

/// Garbage that is made while a concurrent collection runs floats; in a stopped world there is none.
#[test]
fn a_stopped_world_sweeps_before_it_goes_on() {
    node!(Sweeps);
    let heap: Heap<Sweeps> = Heap::builder()
        .checkmark(true)
        .collection(Collection::StopTheWorld)
        .build(Blocks::new(), Threads::new())
        .unwrap();
    {
        let guard = heap.enter();
        (0..10_000).for_each(|_| _ = node(&guard));
    }
    heap.cycle(|_| ()).unwrap();
    assert_eq!(heap.usage().spans, 0, "nothing is left to sweep");
}

#[test]
fn a_heap_without_collections_asks_for_none() {
    node!(Never);
    let heap: Heap<Never> = Heap::builder()
        .checkmark(true)
        .collection(Collection::Never)
        .pacer(Every(1 << 10))
        .build(Blocks::new(), Threads::new())
        .unwrap();
    let woken = Arc::new(AtomicUsize::new(0));
    heap.set_waker({
        let woken = Arc::clone(&woken);
        move || _ = woken.fetch_add(1, Ordering::Relaxed)
    });
    let fill = || {
        let guard = heap.enter();
        (0..10_000).for_each(|_| _ = node(&guard));
    };
    fill();
    assert!(!heap.is_requested());
    assert_eq!(heap.collect().unwrap_err(), HeapError::Disabled);
    heap.set_collection(Collection::Concurrent);
    fill();
    assert!(heap.is_requested() && woken.load(Ordering::Relaxed) == 1);
    heap.collect().unwrap();
    assert_eq!(heap.usage().spans, 0);
}

/// What a store puts in is marked by the hybrid barrier, and is no concern of the other: here into an
/// object that nobody will ever see, under a guard that hand 2 waits for.
#[test]
fn the_hybrid_barrier_logs_what_is_put_in() {
    node!(Logs);
    let marked = |barrier| {
        let heap: Heap<Logs> = Heap::builder()
            .checkmark(true)
            .write_barrier(barrier)
            .build(Blocks::new(), Threads::new())
            .unwrap();
        let (holds, held) = mpsc::channel();
        let (go, gone) = mpsc::channel();
        thread::scope(|scope| {
            let heap = &heap;
            let holder = scope.spawn(move || {
                let guard = heap.enter();
                holds.send(()).unwrap();
                gone.recv().unwrap();
                node(&guard).next.set(&guard, Some(node(&guard)));
                drop(guard);
                holds.send(()).unwrap();
            });
            held.recv().unwrap();
            let record = heap.collect_with(|pause| {
                // It is waited for here: after some more looks the barrier would not be kept on for it.
                if pause == Pause::Handshake(0) {
                    go.send(()).unwrap();
                    held.recv().unwrap();
                }
                thread::yield_now();
            });
            holder.join().unwrap();
            record.unwrap().marked_objects
        })
    };
    assert_eq!(marked(WriteBarrier::Deletion), 0);
    assert_eq!(marked(WriteBarrier::Hybrid), 1);
}

/// A guard that is held for long, alone, stores as if no cycle ran; beside another one it does not. What
/// the hybrid barrier logs tells which.
#[test]
fn the_barrier_is_not_kept_on_for_the_only_guard() {
    node!(Alone);
    let marked = |guards: usize| {
        let heap: Heap<Alone> = Heap::builder()
            .checkmark(true)
            .write_barrier(WriteBarrier::Hybrid)
            .build(Blocks::poisoned(), Threads::new())
            .unwrap();
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            let heap = &heap;
            let hold = |_| {
                let (tell, (go, may_go)) = (tell.clone(), mpsc::channel());
                scope.spawn(move || {
                    let guard = heap.enter();
                    tell.send(()).unwrap();
                    may_go.recv().unwrap();
                    node(&guard).next.set(&guard, Some(node(&guard)));
                    drop(guard);
                    tell.send(()).unwrap();
                });
                go
            };
            let gos: Vec<mpsc::Sender<()>> = (0..guards).map(hold).collect();
            gos.iter().for_each(|_| told.recv().unwrap());
            let record = heap.collect_with(|pause| {
                // Both are gone at the next look: one is not seen alone after the other.
                if pause == Pause::Handshake(1_000) {
                    gos.iter().for_each(|go| go.send(()).unwrap());
                    gos.iter().for_each(|_| told.recv().unwrap());
                }
                thread::yield_now();
            });
            record.unwrap().marked_objects
        })
    };
    assert_eq!(marked(2), 2);
    assert_eq!(marked(1), 0);
}

/// A guard waits for a cycle to begin if the only one that held it up is gone and the driver has not looked since, but
/// not for ever; while that one is held it does not wait.
#[test]
fn a_guard_waits_between_the_only_one_and_the_beginning() {
    node!(Between);
    let heap: Heap<Between> = Heap::builder()
        .checkmark(true)
        .pacer(Gogc::off())
        .build(Blocks::poisoned(), Threads::new())
        .unwrap();
    let reliefs = || heap.stats().actions.reliefs.wall;
    let ((tell, told), (go, may_go)) = (mpsc::channel(), mpsc::channel());
    let first = heap.enter();
    thread::scope(|scope| {
        let heap = &heap;
        let driver = scope.spawn(move || {
            heap.collect_with(|pause| {
                if pause == Pause::Handshake(1_000) {
                    tell.send(()).unwrap();
                    may_go.recv().unwrap();
                }
                thread::yield_now();
            })
        });
        // The driver waits with the barrier off, and does not look.
        told.recv().unwrap();
        scope.spawn(|| drop(heap.enter())).join().unwrap();
        assert_eq!(reliefs().count(), 0, "the other guard is held");
        drop(first);
        drop(heap.enter());
        let waited = reliefs();
        assert!(
            waited.count() == 1 && waited.percentile(100.0) >= Duration::from_millis(10),
            "{waited:?}"
        );
        go.send(()).unwrap();
        driver.join().unwrap().unwrap();
    });
    drop(heap.enter());
    assert_eq!(reliefs().count(), 1, "nobody waits any more");
}

/// Everything that the heap holds stays under the pacer's limit, if garbage is all there is to hold.
#[test]
fn a_memory_limit_alone_begins_cycles() {
    const LIMIT: u64 = 16 << 20;
    node!(Limited);
    let heap: Heap<Limited> = Heap::builder()
        .checkmark(true)
        .pacer(Gogc::off().limit(LIMIT))
        .build(Blocks::new(), Threads::new())
        .unwrap();
    let mut most = 0;
    for _ in 0..2_000 {
        let guard = heap.enter();
        (0..1_000).for_each(|_| _ = node(&guard));
        drop(guard);
        most = most.max(heap.usage().held_bytes as u64);
        if heap.is_requested() {
            heap.collect().unwrap();
        }
    }
    assert!(heap.stats().cycles > 0);
    assert!(most <= LIMIT, "{most} bytes were held");
    assert!(most > LIMIT / 2, "the limit is not used: {most} bytes");
}

/// A pacer that panics when it is asked for a first target.
#[derive(Debug)]
struct Hasty;

impl Pacer for Hasty {
    fn first(&self) -> Target {
        panic!("no target")
    }

    fn next(&mut self, _: Facts) -> Target {
        unreachable!("it has no first target")
    }
}

gc_core::tag! {
    /// The heap of the test below.
    struct Refused;
}

#[test]
fn a_pacer_that_panics_at_the_beginning_takes_no_tag() {
    let build = || Heap::<Refused>::builder().pacer(Hasty).build(Blocks::new(), Threads::new());
    assert!(std::panic::catch_unwind(build).is_err());
    assert!(Heap::<Refused>::new().is_ok());
}
