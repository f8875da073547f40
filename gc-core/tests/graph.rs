//! Random graphs: what a collection leaves is what a plain search from the roots reaches.

mod common;

use common::checked;
use gc_core::policy::{Collection, WriteBarrier};
use gc_core::world::threads::Threads;
use gc_core::{
    Gc, GcCell, Guard, Heap, HeapError, Root, Trace, cycle::Pause, pacer::Every,
    space::blocks::Blocks,
};
use proptest::prelude::*;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

gc_core::tag! {
    /// The heap of these tests.
    struct Test;
}

const EDGES: usize = 3;

/// Says who died.
#[derive(Debug)]
struct Name {
    id: usize,
    dead: Arc<Mutex<Vec<usize>>>,
}

impl Drop for Name {
    fn drop(&mut self) {
        self.dead.lock().unwrap().push(self.id);
    }
}

#[derive(Trace)]
#[trace(heap = Test)]
struct Node<'g> {
    #[leaf]
    #[expect(dead_code, reason = "its destructor is what counts")]
    name: Name,
    edges: [GcCell<'g, Node<'g>, Test>; EDGES],
    first: Option<Gc<'g, Node<'g>, Test>>,
}

/// One step of a random program. Indices are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Make { edges: [Option<usize>; EDGES], first: Option<usize> },
    Link { from: usize, edge: usize, to: Option<usize> },
    Drop { root: usize },
    Clone { root: usize },
    Policy { collection: Collection, barrier: WriteBarrier },
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    let target = || prop::option::weighted(0.7, any::<usize>());
    prop_oneof![
        4 => (prop::array::uniform3(target()), target())
            .prop_map(|(edges, first)| Step::Make { edges, first }),
        6 => (any::<usize>(), 0..EDGES, target())
            .prop_map(|(from, edge, to)| Step::Link { from, edge, to }),
        3 => any::<usize>().prop_map(|root| Step::Drop { root }),
        1 => any::<usize>().prop_map(|root| Step::Clone { root }),
        1 => (collection(), barrier())
            .prop_map(|(collection, barrier)| Step::Policy { collection, barrier }),
        1 => Just(Step::Collect),
    ]
}

fn collection() -> impl Strategy<Value = Collection> {
    prop_oneof![Just(Collection::Concurrent), Just(Collection::StopTheWorld)]
}

fn barrier() -> impl Strategy<Value = WriteBarrier> {
    prop_oneof![Just(WriteBarrier::Deletion), Just(WriteBarrier::Hybrid)]
}

/// The heap under test beside the plain graph.
struct Pair {
    heap: Heap<Test>,
    dead: Arc<Mutex<Vec<usize>>>,
    roots: Vec<(usize, Root<Node<'static>, Test>)>,
    edges: HashMap<usize, [Option<usize>; EDGES]>,
    first: HashMap<usize, Option<usize>>,
    made: usize,
}

impl Pair {
    fn new() -> Self {
        let heap = Heap::builder().checkmark(true).build(Blocks::poisoned(), Threads::new());
        Self {
            heap: heap.unwrap(),
            dead: Arc::default(),
            roots: Vec::new(),
            edges: HashMap::new(),
            first: HashMap::new(),
            made: 0,
        }
    }

    fn root(&self, index: Option<usize>) -> Option<usize> {
        index.filter(|_| !self.roots.is_empty()).map(|index| index % self.roots.len())
    }

    fn pointer<'g>(
        &self,
        root: Option<usize>,
        guard: &'g Guard<'_, Test>,
    ) -> Option<Gc<'g, Node<'g>, Test>> {
        root.map(|root| self.roots[root].1.get(guard))
    }

    fn name(&self, root: Option<usize>) -> Option<usize> {
        root.map(|root| self.roots[root].0)
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Make { edges, first } => self.make(edges, first),
            Step::Link { from, edge, to } => self.link(from, edge, to),
            Step::Drop { root } => {
                if let Some(root) = self.root(Some(root)) {
                    self.roots.swap_remove(root);
                }
            }
            Step::Clone { root } => {
                if let Some(root) = self.root(Some(root)) {
                    let (id, root) = &self.roots[root];
                    self.roots.push((*id, root.clone()));
                }
            }
            Step::Policy { collection, barrier } => {
                self.heap.set_collection(collection);
                self.heap.set_write_barrier(barrier);
            }
            Step::Collect => self.collect(),
        }
    }

    fn make(&mut self, edges: [Option<usize>; EDGES], first: Option<usize>) {
        let id = self.made;
        self.made += 1;
        let (edges, first) = (edges.map(|edge| self.root(edge)), self.root(first));
        let heap = self.heap.clone();
        let guard = heap.enter();
        let node = guard.alloc(Node {
            name: Name { id, dead: self.dead.clone() },
            edges: edges.map(|edge| GcCell::new(self.pointer(edge, &guard))),
            first: self.pointer(first, &guard),
        });
        self.edges.insert(id, edges.map(|edge| self.name(edge)));
        self.first.insert(id, self.name(first));
        self.roots.push((id, guard.root(node)));
    }

    fn link(&mut self, from: usize, edge: usize, to: Option<usize>) {
        let Some(from) = self.root(Some(from)) else { return };
        let to = self.root(to);
        let guard = self.heap.enter();
        let target = self.pointer(to, &guard);
        self.roots[from].1.get(&guard).edges[edge].set(&guard, target);
        let (from, to) = (self.roots[from].0, self.name(to));
        self.edges.get_mut(&from).unwrap()[edge] = to;
    }

    fn reachable(&self) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut stack: Vec<usize> = self.roots.iter().map(|(id, _)| *id).collect();
        while let Some(id) = stack.pop() {
            if seen.insert(id) {
                stack.extend(self.edges[&id].iter().flatten().chain(&self.first[&id]));
            }
        }
        seen
    }

    /// Collects, and compares who is left.
    fn collect(&mut self) {
        self.heap.collect().unwrap();
        self.heap.run_destructors(usize::MAX);
        let dead = self.dead.lock().unwrap();
        let left: BTreeSet<usize> = (0..self.made).filter(|id| !dead.contains(id)).collect();
        assert_eq!(left, self.reachable(), "what is left is what is reachable");
        assert_eq!(dead.len(), self.made - left.len(), "every destructor ran once");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_left_is_what_is_reachable(steps in prop::collection::vec(step(), 1..120)) {
        let mut pair = Pair::new();
        steps.into_iter().for_each(|step| pair.run(step));
        pair.collect();
        pair.roots.clear();
        pair.collect();
        prop_assert_eq!(pair.heap.usage().doomed, 0);
        prop_assert_eq!(pair.heap.roots(), 0);
    }
}

#[test]
fn a_collection_inside_a_guard_is_an_error() {
    gc_core::tag! { struct Inside; }
    let heap = checked::<Inside>();
    let guard = heap.enter();
    assert_eq!(heap.collect(), Err(HeapError::InsideGuard));
    let second = heap.enter();
    drop(guard);
    assert_eq!(heap.collect(), Err(HeapError::InsideGuard));
    drop(second);
    assert_eq!(heap.collect().unwrap().cycle, 1);
}

#[test]
fn a_cycle_that_unwinds_is_the_last_one() {
    gc_core::tag! { struct Unwinds; }
    let heap = checked::<Unwinds>();
    let root = {
        let guard = heap.enter();
        guard.root(guard.alloc(7u64))
    };
    let outcome = std::thread::scope(|scope| {
        let guard = heap.enter();
        let driver = scope.spawn(|| heap.collect_with(|_| panic!("no patience")).is_ok());
        let outcome = driver.join();
        drop(guard);
        outcome
    });
    assert!(outcome.is_err());
    assert_eq!(heap.collect(), Err(HeapError::Broken));
    let guard = heap.enter();
    assert_eq!((*root.get(&guard), *guard.alloc(8u64)), (7, 8));
}

/// Nobody waits for a cycle that nobody drives any more, however far the heap has grown.
#[test]
fn a_cycle_that_unwinds_holds_nobody_up() {
    gc_core::tag! { struct Gone; }
    let heap = checked::<Gone>();
    heap.set_pacer(Every(1 << 16));
    std::thread::scope(|scope| {
        let _guard = heap.enter();
        let panic = |pause| assert_ne!(pause, Pause::Handshake(1), "no patience");
        let heap = &heap;
        let driver = scope.spawn(move || heap.collect_with(panic).is_ok());
        assert!(driver.join().is_err());
    });
    assert_eq!(heap.waiting(), None);
    let guard = heap.enter();
    (0..1 << 14).for_each(|n| _ = guard.alloc([n; 8]));
    drop(guard);
    assert!(heap.is_outrun() && heap.is_requested());
    drop(heap.enter());
    assert_eq!(heap.stats().actions.reliefs.wall.count(), 0);
}
