//! Every shape of type that the derive takes: what such an object has an edge to lives, and dies when
//! the edge is gone.

mod common;

use common::checked;
use gc_core::{Gc, GcCell, Heap, Rebind, Root, Slice, Trace};
use std::{
    cmp,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque},
    fmt::Debug,
    marker::PhantomData,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What edges lead to: counted while it lives.
#[derive(Trace, Debug)]
struct Target(#[leaf] Arc<AtomicUsize>);

impl Target {
    fn born(living: &Arc<AtomicUsize>) -> Self {
        living.fetch_add(1, Ordering::Relaxed);
        Self(living.clone())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Edge<'g> = Gc<'g, Target>;
type Cell<'g> = GcCell<'g, Target>;

fn cell(target: Edge<'_>) -> Cell<'_> {
    GcCell::new(Some(target))
}

#[derive(Trace)]
struct Named<'g> {
    fixed: Edge<'g>,
    cell: Cell<'g>,
    #[leaf]
    lock: Mutex<Vec<u8>>,
}

#[derive(Trace)]
struct Tuple<'g>(u64, Cell<'g>, (u8, Option<Edge<'g>>));

#[derive(Trace)]
enum Variant<'g> {
    Unit,
    Value(u64),
    Named { left: Cell<'g>, right: Option<Gc<'g, Self>> },
    Tuple(Edge<'g>, GcCell<'g, Slice<Cell<'g>>>),
    Owners(Vec<Variant<'g>>, Box<[Cell<'g>]>, Box<Tuple<'g>>, [Option<Edge<'g>>; 2]),
}

/// By number.
#[derive(Trace)]
struct Ranked<'g>(usize, Edge<'g>);

impl PartialEq for Ranked<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Ranked<'_> {}

impl PartialOrd for Ranked<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked<'_> {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

#[derive(Trace)]
struct Lists<'g> {
    queue: VecDeque<Cell<'g>>,
    heap: BinaryHeap<cmp::Reverse<Ranked<'g>>>,
    chain: LinkedList<Result<Cell<'g>, Edge<'g>>>,
}

#[derive(Trace)]
struct Tables<'g> {
    hashed: HashMap<&'static str, Cell<'g>>,
    keys: HashMap<Edge<'g>, u64>,
    set: HashSet<Edge<'g>>,
    sorted: BTreeMap<Ranked<'g>, Cell<'g>>,
    ranks: BTreeSet<Ranked<'g>>,
}

#[derive(Trace)]
struct Generic<'g, T: Debug, const N: usize = 2> {
    values: [T; N],
    next: GcCell<'g, Generic<'g, T, N>>,
}

#[derive(Trace)]
struct Tagged<T, U> {
    value: T,
    #[leaf]
    tag: PhantomData<U>,
}

#[derive(Trace)]
struct Unit;

#[derive(Trace)]
struct Dropped(String);

impl Drop for Dropped {
    fn drop(&mut self) {}
}

#[derive(Trace)]
enum Never {}

/// The right to have a heap, for the tag is everybody's; and the heap, which goes first.
fn alone() -> (MutexGuard<'static, ()>, Heap) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    (turn, checked())
}

/// An object of the type, with an edge to each `$new()`. All live as long as it does.
macro_rules! keeps {
    ($type:ty, |$guard:ident, $new:ident| $object:expr) => {{
        let (_turn, heap) = alone();
        let living = Arc::new(AtomicUsize::new(0));
        let count = || living.load(Ordering::Relaxed);
        let collect = || {
            heap.collect().unwrap();
            heap.run_destructors(usize::MAX);
        };
        let root: Root<$type> = {
            let $guard = &heap.enter();
            let $new = || $guard.alloc(Target::born(&living));
            let object = $guard.alloc($object);
            $guard.root(object)
        };
        let born = count();
        collect();
        assert_eq!(count(), born, "an edge of {} was overlooked", stringify!($type));
        drop(root);
        collect();
        assert_eq!(count(), 0, "{} has kept what it led to", stringify!($type));
    }};
}

#[test]
fn what_a_struct_leads_to_lives_as_long() {
    keeps!(Named<'static>, |guard, new| Named {
        fixed: new(),
        cell: cell(new()),
        lock: Mutex::default(),
    });
    keeps!(Tuple<'static>, |guard, new| Tuple(1, cell(new()), (2, Some(new()))));
}

#[test]
fn what_a_variant_leads_to_lives_as_long() {
    keeps!(Variant<'static>, |guard, new| {
        let inner = Variant::Named { left: cell(new()), right: None };
        Variant::Named { left: cell(new()), right: Some(guard.alloc(inner)) }
    });
    keeps!(Variant<'static>, |guard, new| {
        let many: Vec<_> = (0..300).map(|_| cell(new())).collect();
        Variant::Tuple(new(), GcCell::new(Some(guard.alloc_slice(many))))
    });
    keeps!(Variant<'static>, |guard, new| {
        let named = |target| Variant::Named { left: cell(target), right: None };
        let mut listed = vec![Variant::Unit, Variant::Value(1)];
        listed.extend((0..300).map(|_| named(new())));
        let cells = [cell(new()), GcCell::null(), cell(new())];
        let tuple = Tuple(1, cell(new()), (1, Some(new())));
        Variant::Owners(listed, Box::new(cells), Box::new(tuple), [None, Some(new())])
    });
}

#[test]
fn what_a_collection_leads_to_lives_as_long() {
    keeps!(Lists<'static>, |guard, new| {
        let mut queue: VecDeque<_> = (0..300).map(|_| cell(new())).collect();
        // In two pieces.
        let first = queue.pop_front();
        queue.extend(first);
        assert!(!queue.as_slices().1.is_empty());
        let heap = (0..300).map(|n| cmp::Reverse(Ranked(n, new()))).collect();
        Lists { queue, heap, chain: [Ok(cell(new())), Err(new())].into() }
    });
    keeps!(Tables<'static>, |guard, new| Tables {
        hashed: [("one", cell(new())), ("two", cell(new()))].into(),
        keys: [(new(), 1), (new(), 2)].into(),
        set: [new(), new()].into(),
        sorted: [(Ranked(1, new()), cell(new())), (Ranked(2, new()), cell(new()))].into(),
        ranks: [Ranked(1, new()), Ranked(2, new())].into(),
    });
    type Wide = (u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, Cell<'static>, Edge<'static>);
    keeps!(Wide, |guard, new| {
        let n = 0u8;
        (n, n, n, n, n, n, n, n, n, n, cell(new()), new())
    });
    const {
        assert!(!<HashMap<String, Result<u8, &str>>>::EDGES);
        assert!(<HashMap<u8, Edge<'_>>>::EDGES && <HashMap<Edge<'_>, u8>>::EDGES && Wide::EDGES);
    }
}

#[test]
fn what_a_type_parameter_leads_to_lives_as_long() {
    keeps!(Generic<'static, Edge<'static>>, |guard, new| {
        let inner = Generic { values: [new(), new()], next: GcCell::null() };
        Generic { values: [new(), new()], next: GcCell::new(Some(guard.alloc(inner))) }
    });
    keeps!(Generic<'static, Option<Edge<'static>>, 1>, |guard, new| Generic {
        values: [Some(new())],
        next: GcCell::null(),
    });
    keeps!(Tagged<Cell<'static>, u8>, |guard, new| Tagged { value: cell(new()), tag: PhantomData });
}

#[test]
fn what_leads_nowhere_is_taken_too() {
    keeps!(Unit, |guard, _new| Unit);
    keeps!(Dropped, |guard, _new| Dropped(String::new()));
    keeps!(Tagged<u8, u8>, |guard, _new| Tagged { value: 1u8, tag: PhantomData });
    const {
        assert!(!<Tagged<u8, u8>>::EDGES && <Tagged<GcCell<'_, u8>, u8>>::EDGES);
        assert!(!Unit::EDGES && !Never::EDGES && Named::EDGES);
    }
}

#[test]
fn an_edge_that_is_gone_keeps_nothing() {
    let (_turn, heap) = alone();
    let living = Arc::new(AtomicUsize::new(0));
    let root: Root<Named<'static>> = {
        let guard = heap.enter();
        let new = || guard.alloc(Target::born(&living));
        let named = Named { fixed: new(), cell: cell(new()), lock: Mutex::default() };
        guard.root(guard.alloc(named))
    };
    root.get(&heap.enter()).cell.set(&heap.enter(), None);
    heap.collect().unwrap();
    heap.run_destructors(usize::MAX);
    assert_eq!(living.load(Ordering::Relaxed), 1, "one of two");
    let guard = heap.enter();
    let named = root.get(&guard).get();
    assert_eq!(named.fixed.0.load(Ordering::Relaxed), 1, "the one that is left");
    assert!(named.cell.load().is_none() && named.lock.lock().unwrap().is_empty());
}
