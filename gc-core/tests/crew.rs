//! Several workers mark one graph: everything reachable is marked, once, and the rest is swept.

use gc_core::{
    GcCell, Heap, Root, Slice, Trace, cycle::Pause, space::blocks::Blocks, world::threads::Threads,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

gc_core::tag! {
    /// The heap of these tests.
    struct Test;
}

#[derive(Trace)]
#[trace(heap = Test)]
struct Node<'g> {
    edges: GcCell<'g, Slice<GcCell<'g, Node<'g>, Test>>, Test>,
}

const NODES: usize = 20_000;
const EDGES: usize = 4;

type Graph = Root<Slice<GcCell<'static, Node<'static>, Test>>, Test>;

/// Nodes with random edges, and a table that leads to one in eight.
fn build(heap: &Heap<Test>) -> (Graph, usize) {
    let guard = heap.enter();
    let nodes: Vec<_> = (0..NODES).map(|_| guard.alloc(Node { edges: GcCell::null() })).collect();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as usize % NODES
    };
    let edges: Vec<[usize; EDGES]> =
        (0..NODES).map(|_| [0; EDGES].map(|_: usize| random())).collect();
    for (node, edges) in nodes.iter().zip(&edges) {
        let cells = edges.iter().map(|&to| GcCell::new(Some(nodes[to])));
        node.edges.set(&guard, Some(guard.alloc_slice(cells)));
    }
    let starts: Vec<usize> = (0..NODES).step_by(8).collect();
    let table = guard.alloc_slice(starts.iter().map(|&start| GcCell::new(Some(nodes[start]))));
    let mut reached = vec![false; NODES];
    let mut stack = starts;
    while let Some(node) = stack.pop() {
        if !std::mem::replace(&mut reached[node], true) {
            stack.extend(edges[node]);
        }
    }
    // Each node has a slice of edges, and the table is one object.
    (guard.root(table), 1 + 2 * reached.iter().filter(|reached| **reached).count())
}

#[test]
fn a_crew_marks_what_one_worker_would() {
    let heap = Heap::<Test>::builder()
        .slice(64)
        .checkmark(true)
        .build(Blocks::poisoned(), Threads::new())
        .unwrap();
    let helpers: Arc<Mutex<Vec<thread::JoinHandle<()>>>> = Arc::default();
    let (asked, at_work) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    heap.on_work({
        let (heap, helpers) = (heap.clone(), helpers.clone());
        let (asked, at_work) = (asked.clone(), at_work.clone());
        move || {
            asked.fetch_add(1, Ordering::Relaxed);
            if at_work.fetch_add(1, Ordering::Relaxed) < 3 {
                let (heap, at_work) = (heap.clone(), at_work.clone());
                let help = move || {
                    heap.help(|_| thread::yield_now());
                    at_work.fetch_sub(1, Ordering::Relaxed);
                };
                helpers.lock().unwrap().push(thread::spawn(help));
            } else {
                at_work.fetch_sub(1, Ordering::Relaxed);
            }
        }
    });
    let (graph, reachable) = build(&heap);
    assert_eq!(heap.collect().unwrap().marked_objects, reachable as u64);
    let stop = Arc::new(AtomicBool::new(false));
    let mutator = thread::spawn({
        let (heap, graph, stop) = (heap.clone(), graph.clone(), stop.clone());
        move || {
            // Cuts paths and mends them, so that there is something to log.
            let mut turn = 0;
            while !stop.load(Ordering::Relaxed) {
                let guard = heap.enter();
                let slots = graph.get(&guard).as_slice();
                let (one, other) = (&slots[turn % slots.len()], &slots[(turn + 1) % slots.len()]);
                let taken = one.swap(&guard, other.load());
                other.set(&guard, taken);
                turn += 1;
            }
        }
    });
    for _ in 0..10 {
        let record = heap.collect().unwrap();
        assert!(record.marked_objects <= reachable as u64, "an object was counted twice");
    }
    stop.store(true, Ordering::Relaxed);
    mutator.join().unwrap();
    assert!(asked.load(Ordering::Relaxed) > 0, "nobody was asked to help");
    heap.on_work(|| ());
    for helper in helpers.lock().unwrap().drain(..) {
        helper.join().unwrap();
    }
}

gc_core::tag! {
    /// The heap of the test below.
    struct Unwound;
}

/// A helper's pause panics: what it had in hand is marked by others, and the collection ends.
#[test]
fn a_helper_that_unwinds_leaves_its_work_to_others() {
    let heap = Heap::<Unwound>::builder()
        .slice(32)
        .checkmark(true)
        .build(Blocks::poisoned(), Threads::new())
        .unwrap();
    let root: Root<Slice<GcCell<'static, u64, Unwound>>, Unwound> = {
        let guard = heap.enter();
        let words = (0..20_000_u64).map(|n| GcCell::new(Some(guard.alloc(n))));
        guard.root(guard.alloc_slice(words))
    };
    let unwound = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !unwound.load(Ordering::Relaxed) {
                let pause = |pause| assert_ne!(pause, Pause::Slice, "a pause that panics");
                let help = AssertUnwindSafe(|| heap.help(pause));
                unwound.fetch_or(catch_unwind(help).is_err(), Ordering::Relaxed);
            }
        });
        // The driver goes on when the helper has had something.
        let pause = |pause| {
            while pause == Pause::Slice && !unwound.load(Ordering::Relaxed) && heap.is_work_ready()
            {
                thread::yield_now();
            }
        };
        heap.collect_with(pause).unwrap();
        unwound.store(true, Ordering::Relaxed);
    });
    let guard = heap.enter();
    let words = root.get(&guard).as_slice();
    assert!(words.iter().zip(0_u64..).all(|(word, n)| word.load().is_some_and(|word| *word == n)));
}
