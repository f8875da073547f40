//! Several threads change one graph while the collector runs: nobody ever sees a dead object, and
//! in the end everything is gone.

mod common;

use common::checked;
use gc_core::{
    Collector, Gc, GcCell, Guard, Heap, HeapError, Root, Slice, Trace,
    pacer::Every,
    policy::{Collection, WriteBarrier},
    space::blocks::Blocks,
    world::threads::Threads,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Counts the living.
#[derive(Debug)]
struct Census(Arc<AtomicUsize>);

impl Census {
    fn born(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

const SEAL: u64 = 0x5eed_5eed_5eed_5eed;

macro_rules! graph {
    ($tag:ident) => {
        gc_core::tag! { struct $tag; }

        #[derive(Trace)]
        #[trace(heap = $tag)]
        struct Node<'g> {
            seal: u64,
            edges: [GcCell<'g, Node<'g>, $tag>; 2],
            list: GcCell<'g, Slice<GcCell<'g, Node<'g>, $tag>>, $tag>,
            #[leaf]
            #[expect(dead_code, reason = "its destructor is what counts")]
            census: Option<Census>,
            tail: u64,
        }

        type Link<'g> = Gc<'g, Node<'g>, $tag>;

        impl<'g> Node<'g> {
            fn make(guard: &'g Guard<'_, $tag>, census: Option<Census>) -> Link<'g> {
                let edges = [GcCell::null(), GcCell::null()];
                let list = GcCell::null();
                guard.alloc(Node { seal: SEAL, edges, list, census, tail: !SEAL })
            }

            #[allow(dead_code, reason = "not every test has dead objects to see")]
            fn check(&self) {
                assert_eq!((self.seal, self.tail), (SEAL, !SEAL), "a dead object was seen");
            }
        }
    };
}

#[test]
fn nobody_sees_a_dead_object() {
    churn(60, Collection::Concurrent, WriteBarrier::Deletion);
    churn(30, Collection::Concurrent, WriteBarrier::Hybrid);
    churn(30, Collection::StopTheWorld, WriteBarrier::Deletion);
}

/// Three threads change one graph for so many cycles.
fn churn(cycles: u64, collection: Collection, barrier: WriteBarrier) {
    graph!(Shared);
    const SLOTS: usize = 64;

    let census = Arc::new(AtomicUsize::new(0));
    let heap: Heap<Shared> = Heap::builder()
        .pacer(Every(64 << 10))
        .collection(collection)
        .write_barrier(barrier)
        .slice(64)
        .checkmark(true)
        .build(Blocks::poisoned(), Threads::new())
        .unwrap();
    let table: Root<Slice<GcCell<'static, Node<'static>, Shared>>, Shared> = {
        let guard = heap.enter();
        guard.root(guard.alloc_slice((0..SLOTS).map(|_| GcCell::<Node<'_>, Shared>::null())))
    };
    let collector = Collector::start(&heap).unwrap();

    let work = |seed: u64| {
        let mut random = Random(seed);
        let mut kept: Vec<Root<Node<'static>, Shared>> = Vec::new();
        while heap.stats().cycles < cycles {
            heap.request();
            let mut guard = heap.enter();
            if random.below(8) == 0 {
                guard.repin();
            }
            let slots = table.get(&guard).as_slice();
            let mut hand: Vec<Link<'_>> = Vec::new();
            for _ in 0..12 {
                let slot = &slots[random.below(SLOTS)];
                let picked = hand.get(random.below(hand.len() + 1)).copied();
                match random.below(9) {
                    0 | 1 => {
                        let counted = random.below(2) == 0;
                        let node = Node::make(&guard, counted.then(|| Census::born(&census)));
                        node.edges[0].set(&guard, picked);
                        hand.push(node);
                    }
                    2 => slot.set(&guard, picked),
                    3 => hand.extend(slot.load()),
                    4 => hand.extend(slot.swap(&guard, picked)),
                    5 => {
                        let seen = slot.load();
                        if slot.compare_exchange(&guard, seen, picked).is_ok() {
                            hand.extend(seen);
                        }
                    }
                    6 => {
                        if let Some(node) = picked {
                            node.check();
                            let edge = &node.edges[random.below(2)];
                            hand.extend(edge.take(&guard));
                            edge.set(&guard, slot.load());
                        }
                    }
                    7 => {
                        if let Some(node) = picked {
                            let items: Vec<_> =
                                hand.iter().map(|n| GcCell::new(Some(*n))).collect();
                            node.list.set(&guard, Some(guard.alloc_slice(items)));
                        }
                    }
                    _ => {
                        if let Some(list) = picked.and_then(|node| node.list.load()) {
                            hand.extend(list.as_slice().iter().filter_map(GcCell::load));
                        }
                    }
                }
                hand.iter().for_each(|node| node.check());
                hand.truncate(16);
            }
            match random.below(16) {
                0 => kept.extend(hand.first().map(|node| guard.root(*node))),
                1 if !kept.is_empty() => drop(kept.swap_remove(random.below(kept.len()))),
                2 => kept.extend(kept.first().cloned()),
                3 => kept.iter().for_each(|root| root.get(&guard).check()),
                _ => {}
            }
            kept.truncate(8);
        }
    };
    thread::scope(|scope| {
        for seed in 1..=3 {
            let work = &work;
            scope.spawn(move || work(seed * 0x9e37_79b9));
        }
    });

    drop(collector);
    drop(table);
    for _ in 0..2 {
        heap.collect().unwrap();
        heap.run_destructors(usize::MAX);
    }
    assert_eq!(census.load(Ordering::Relaxed), 0, "every destructor ran once");
    assert_eq!((heap.usage().spans, heap.roots()), (0, 0), "nothing is left");
}

#[test]
fn pointers_may_be_used_by_scoped_threads_under_the_parents_guard() {
    graph!(Scoped);
    let heap = checked::<Scoped>();
    let guard = heap.enter();
    let node = Node::make(&guard, None);
    thread::scope(|scope| {
        scope.spawn(|| {
            let inner = heap.enter();
            node.edges[0].set(&inner, Some(node));
        });
    });
    assert!(node.edges[0].load() == Some(node));
}

#[test]
fn a_root_dropped_by_a_dying_thread_local_is_counted_out() {
    use std::cell::RefCell;
    graph!(Dying);
    thread_local! {
        static KEPT: RefCell<Option<Root<Node<'static>, Dying>>> = const { RefCell::new(None) };
    }
    let heap = checked::<Dying>();
    thread::scope(|scope| {
        scope.spawn(|| {
            // Registered first, destroyed last: the heap's own thread-local is gone by then.
            KEPT.with(|kept| *kept.borrow_mut() = None);
            let guard = heap.enter();
            let root = guard.root(Node::make(&guard, None));
            KEPT.with(|kept| *kept.borrow_mut() = Some(root));
        });
    });
    // The scope waits for the closure, not for thread-locals.
    while heap.roots() != 0 {
        thread::yield_now();
    }
    heap.collect().unwrap();
    heap.run_destructors(usize::MAX);
    heap.collect().unwrap();
    assert_eq!(heap.usage().spans, 0);
}

#[test]
fn a_guard_of_a_dying_thread_is_counted_for_it() {
    use std::{cell::RefCell, sync::mpsc};
    gc_core::tag! { struct Late; }
    struct Dies(Heap<Late>, mpsc::Sender<[bool; 3]>);
    impl Drop for Dies {
        fn drop(&mut self) {
            let Dies(heap, told) = self;
            let guard = heap.enter();
            let inside = heap.is_inside_guard();
            // Would wait for itself.
            let refused = inside && heap.collect() == Err(HeapError::InsideGuard);
            drop(guard);
            told.send([inside, refused, heap.collect().is_ok()]).unwrap();
        }
    }
    thread_local! {
        static DIES: RefCell<Option<Dies>> = const { RefCell::new(None) };
    }
    let heap = checked::<Late>();
    let (told, tells) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            // As above: the heap's own thread-local is gone by then.
            DIES.with(|dies| *dies.borrow_mut() = None);
            drop(heap.enter());
            DIES.with(|dies| *dies.borrow_mut() = Some(Dies(heap.clone(), told)));
        });
    });
    assert_eq!(tells.recv().unwrap(), [true; 3]);
}

#[test]
fn a_guard_from_before_its_thread_dies_stays_counted() {
    use gc_core::Guard;
    use std::{
        cell::RefCell,
        sync::{OnceLock, mpsc},
    };
    gc_core::tag! { struct Old; }
    gc_core::tag! { struct Other; }
    static HEAP: OnceLock<Heap<Old>> = OnceLock::new();
    struct Dies(Option<[Guard<'static, Old>; 2]>, Heap<Other>, mpsc::Sender<[bool; 4]>);
    impl Drop for Dies {
        fn drop(&mut self) {
            let (heap, Dies(guards, other, told)) = (HEAP.get().unwrap(), self);
            let [one, two] = guards.take().unwrap();
            let before = heap.is_inside_guard();
            drop((one, other.enter()));
            // The collection would wait for itself.
            let with_one = heap.is_inside_guard() && heap.collect() == Err(HeapError::InsideGuard);
            drop(two);
            let after = heap.is_inside_guard();
            told.send([before, with_one, after, !after && heap.collect().is_ok()]).unwrap();
        }
    }
    thread_local! {
        static DIES: RefCell<Option<Dies>> = const { RefCell::new(None) };
    }
    let (heap, other) = (HEAP.get_or_init(checked::<Old>), checked::<Other>());
    let (told, tells) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            // As above: the heap's own thread-local is gone by then.
            DIES.with(|dies| *dies.borrow_mut() = None);
            drop(other.enter());
            let guards = [heap.enter(), heap.enter()];
            DIES.with(|dies| *dies.borrow_mut() = Some(Dies(Some(guards), other.clone(), told)));
        });
    });
    assert_eq!(tells.recv().unwrap(), [true, true, false, true]);
}

#[test]
fn a_root_in_a_static_keeps_its_object_for_all_threads() {
    use std::sync::Mutex;
    graph!(Lasting);
    static KEPT: Mutex<Option<Root<Node<'static>, Lasting>>> = Mutex::new(None);
    let heap = checked::<Lasting>();
    let publishes = || {
        let guard = heap.enter();
        let node = Node::make(&guard, None);
        node.edges[0].set(&guard, Some(Node::make(&guard, None)));
        *KEPT.lock().unwrap() = Some(guard.root(node));
    };
    thread::scope(|scope| drop(scope.spawn(publishes)));
    heap.collect().unwrap();
    heap.run_destructors(usize::MAX);
    let looks = || {
        let guard = heap.enter();
        let kept = KEPT.lock().unwrap();
        let node = kept.as_ref().expect("it was published").get(&guard);
        node.check();
        node.edges[0].load().expect("an edge").check();
    };
    thread::scope(|scope| drop(scope.spawn(looks)));
    // The last handle but the static's goes; the heap and what it keeps stay for it.
    drop(heap);
    assert!(Heap::<Lasting>::new().is_err(), "the static's root holds the heap");
    drop(KEPT.lock().unwrap().take());
    assert!(Heap::<Lasting>::new().is_ok(), "and was the last to");
}

#[test]
fn local_states_of_dead_threads_are_used_again() {
    gc_core::tag! { struct Again; }
    let heap = checked::<Again>();
    for _ in 0..20 {
        thread::spawn({
            let heap = heap.clone();
            move || drop(heap.enter())
        })
        .join()
        .unwrap();
    }
    assert!(heap.world().members() <= 2, "{} members", heap.world().members());
}

/// One that ends leaves the others of the heap, and the embedding, their way to hear of a request. Hangs if it takes
/// that of the other collector.
#[test]
fn a_collector_disconnects_itself_only() {
    gc_core::tag! { struct Left; }
    let (heap, calls) = (checked::<Left>(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&calls);
    heap.set_waker(move || _ = count.fetch_add(1, Ordering::Relaxed));
    let former = Collector::start(&heap).unwrap();
    let collector = Collector::start(&heap).unwrap();
    drop(former);
    heap.request();
    assert_eq!(calls.load(Ordering::Relaxed), 1, "the embedding's");
    while heap.stats().cycles == 0 {
        thread::yield_now();
    }
    drop(collector);
}
