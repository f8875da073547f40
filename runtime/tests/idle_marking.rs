//! A processor with nothing to run marks; one with something to run does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use runtime::gc::{self, Gc, GcCell, Guard, Root, Trace};

#[derive(Trace)]
struct Node<'g> {
    children: [GcCell<'g, Node<'g>>; 2],
}

const DEPTH: u32 = 17;
const NODES: u64 = (2 << DEPTH) - 1;

fn tree<'g>(guard: &'g Guard<'_>, depth: u32) -> Gc<'g, Node<'g>> {
    let child = || GcCell::new((depth > 0).then(|| tree(guard, depth - 1)));
    guard.alloc(Node { children: [child(), child()] })
}

/// Collects, and returns how many slices idle processors have marked so far.
fn collect() -> u64 {
    let record = gc::collect().expect("no guard is held");
    assert!(record.marked_objects >= NODES, "{record}");
    let stats = gc::stats();
    assert_eq!(stats.idle.is_zero(), stats.idle_slices == 0, "{stats:?}");
    stats.idle_slices
}

// One test: the heap is the process's.
#[test]
fn idle_processors_mark_and_busy_ones_do_not() {
    let rt = runtime::Runtime::builder().procs(2).build().expect("threads and stacks");
    rt.run(|| {
        let guard = gc::enter();
        let root: Root<Node<'static>> = guard.root(tree(&guard, DEPTH));
        drop(guard);

        // The other processor is idle.
        while collect() == 0 {}

        let (stop, running) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let hogs: Vec<_> = (0..4)
            .map(|_| {
                let (stop, running) = (stop.clone(), running.clone());
                runtime::go(move || {
                    running.fetch_add(1, Ordering::Relaxed);
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        while running.load(Ordering::Relaxed) < hogs.len() {
            runtime::yield_now();
        }
        let before = gc::stats().idle_slices;
        let after = [(); 3].map(|()| collect())[2];
        stop.store(true, Ordering::Relaxed);
        hogs.into_iter().for_each(|hog| hog.join().expect("no panic"));
        assert_eq!(after, before, "two wait for a processor all the while");
        drop(root);
    });
}
