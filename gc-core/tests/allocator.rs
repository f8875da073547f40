//! The global allocator has no memory, at each request in turn: what a program asks of the heap is refused with
//! a value, or not needed, and the heap is whole. A cycle goes on without what it asks for itself. The rest is in
//! `docs/soundness.md`.

use gc_core::{
    CleanupQueue, Gc, GcCell, GcMutex, Guard, Heap, Root, Slice, Trace, Weak, cycle::Pause,
    space::blocks::Blocks, world::threads::Threads,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    iter,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard},
};

/// The system's allocator, which refuses what a thread asks for.
struct Refusing;

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// What is refused.
#[derive(Clone, Copy)]
struct Scarcity {
    /// Requests of at least so many bytes.
    bytes: usize,
    /// After so many of them.
    left: usize,
    refused: usize,
}

impl Scarcity {
    const NONE: Self = Self { bytes: usize::MAX, left: usize::MAX, refused: 0 };

    fn refuses(&mut self, bytes: usize) -> bool {
        if bytes < self.bytes {
            return false;
        }
        let refuses = self.left == 0;
        self.left = self.left.saturating_sub(1);
        self.refused += usize::from(refuses);
        refuses
    }
}

thread_local! {
    static SCARCITY: Cell<Scarcity> = const { Cell::new(Scarcity::NONE) };
}

// SAFETY: the system's allocator does the work; it may refuse at any time.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut scarcity = SCARCITY.get();
        let refuses = scarcity.refuses(layout.size());
        SCARCITY.set(scarcity);
        if refuses {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(place, layout) }
    }
}

/// After so many requests of `f` for at least so many bytes there is no memory for more. Also how many were
/// refused.
fn without<R>(left: usize, bytes: usize, f: impl FnOnce() -> R) -> (R, usize) {
    SCARCITY.set(Scarcity { bytes, left, refused: 0 });
    let result = f();
    (result, SCARCITY.replace(Scarcity::NONE).refused)
}

/// One test at a time: they share a tag.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

gc_core::tag! { struct Poor; }

#[derive(Trace)]
#[trace(heap = Poor)]
struct Node<'g> {
    next: GcCell<'g, Node<'g>, Poor>,
    weak: GcCell<'g, Weak<'g, Node<'g>, Poor>, Poor>,
    locked: GcMutex<[Option<Gc<'g, Node<'g>, Poor>>; 2], Poor>,
}

fn node<'g>(next: Option<Gc<'g, Node<'g>, Poor>>) -> Node<'g> {
    Node { next: GcCell::new(next), weak: GcCell::null(), locked: GcMutex::default() }
}

type Kept = Vec<Root<Node<'static>, Poor>>;

fn heap() -> Heap<Poor> {
    Heap::builder().checkmark(true).build(Blocks::poisoned(), Threads::new()).unwrap()
}

/// Everything that a program may ask for, but to wait for a lock. `kept` has room.
fn ask(guard: &Guard<'_, Poor>, queue: &CleanupQueue<u32, Poor>, kept: &mut Kept) {
    let mut last = None;
    for round in 0..100 {
        let Ok(node) = guard.try_alloc(node(last)) else { continue };
        last = Some(node);
        node.weak.set(guard, guard.try_downgrade(node).ok());
        *node.locked.lock(guard) = [Some(node), node.next.load()];
        let weak = node.weak.load();
        assert!(weak.is_none_or(|weak| weak.upgrade(guard) == Some(node)));
        if let Err(token) = queue.try_register(guard, node, round) {
            assert_eq!(token.into_inner(), round);
        }
        if let Ok(root) = guard.try_root(node)
            && round % 2 == 0
        {
            kept.push(root);
        }
    }
    if let Some(Ok(clone)) = kept.first().map(Root::try_clone) {
        kept.push(clone);
    }
    let _ = guard.try_alloc([0u8; 100 << 10]).is_ok() && guard.try_alloc_str("text").is_ok();
}

/// The heap does what a heap does.
fn check(heap: &Heap<Poor>, queue: &CleanupQueue<u32, Poor>, kept: Kept) {
    // Checkmark, in each.
    heap.collect().unwrap();
    {
        let guard = heap.enter();
        for root in &kept {
            let node = root.get(&guard);
            assert!(node.weak.load().is_none_or(|weak| weak.upgrade(&guard) == Some(node)));
            assert!(node.locked.lock(&guard)[0] == Some(node));
        }
    }
    let watched = queue.watched();
    drop(kept);
    heap.collect().unwrap();
    heap.collect().unwrap();
    assert_eq!((heap.live_bytes(), heap.usage().spans), (0, 0));
    assert!(iter::from_fn(|| queue.try_take()).count() >= watched && queue.watched() == 0);
}

#[test]
fn what_a_program_asks_for_is_refused_with_a_value() {
    let _turn = turn();
    for n in 0.. {
        let (heap, mut kept) = (heap(), Kept::with_capacity(200));
        let queue = CleanupQueue::new(&heap);
        // This thread's part of the heap.
        drop(heap.enter());
        let guard = heap.enter();
        let ((), refused) = without(n, 0, || ask(&guard, &queue, &mut kept));
        drop(guard);
        check(&heap, &queue, kept);
        if refused == 0 {
            assert!(n > 20, "only {n} requests");
            break;
        }
    }
}

/// Bytes of a piece of a log.
const CHUNK: usize = 4 << 10;

/// Stores while a cycle runs, until one finds no memory for the log.
#[test]
fn a_store_without_memory_is_done_or_has_not_begun() {
    let _turn = turn();
    let (heap, mut kept) = (heap(), Kept::with_capacity(200));
    let queue = CleanupQueue::new(&heap);
    let old = {
        let guard = heap.enter();
        ask(&guard, &queue, &mut kept);
        guard.root(guard.alloc(node(None)))
    };
    let mut stores = 0;
    let pause = |pause| {
        if stores != 0 || pause != Pause::Slice {
            return;
        }
        let guard = heap.enter();
        let (first, old) = (kept[0].get(&guard), old.get(&guard));
        let fresh = guard.alloc(node(None));
        let store = || {
            // Each takes an unmarked object out, and puts it in again.
            first.next.set(&guard, Some(fresh));
            first.next.set(&guard, Some(old));
            stores += 2;
        };
        let many = || iter::repeat_with(store).take(100_000).for_each(drop);
        // What is said of a panic takes memory.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| ()));
        let (outcome, refused) = without(0, CHUNK, || catch_unwind(AssertUnwindSafe(many)));
        panic::set_hook(hook);
        assert!(outcome.is_err() && refused > 0);
        assert!(first.next.load().is_some_and(|next| next == fresh || next == old));
        // Its interior is to be reported, and there is no room for its edges, or none in the log.
        for bytes in [0, CHUNK] {
            let take = || std::mem::take(&mut *first.locked.lock(&guard));
            let (taken, refused) = without(0, bytes, take);
            assert!(refused > 0 && taken[0] == Some(first));
            *first.locked.lock(&guard) = taken;
        }
    };
    heap.collect_with(pause).unwrap();
    // A chunk of the log and those in reserve.
    assert!(stores > 2_000, "{stores} stores");
    drop(old);
    check(&heap, &queue, kept);
}

/// A cycle whose n-th request is refused, and all after it.
#[test]
fn a_cycle_without_memory_ends_well() {
    let _turn = turn();
    for n in 0.. {
        let (heap, mut kept) = (heap(), Kept::with_capacity(200));
        // Not checkmark: it is the tests' and has a set of its own.
        heap.set_checkmark(false);
        let queue = CleanupQueue::new(&heap);
        ask(&heap.enter(), &queue, &mut kept);
        let known = {
            let guard = heap.enter();
            let weak = |n: u64| guard.downgrade(guard.alloc(n));
            guard.root(guard.alloc_slice([7; 4].map(weak)))
        };
        let (record, refused) = without(n, 0, || heap.collect());
        assert!(record.is_ok());
        while !heap.sweep(64) {}
        let fine = {
            let guard = heap.enter();
            let mut found = known.get(&guard).as_slice().iter().map(|weak| weak.upgrade(&guard));
            found.all(|found| found.is_none_or(|dead| *dead == 7))
        };
        assert!(fine, "a weak pointer dangles");
        drop(known);
        heap.set_checkmark(true);
        check(&heap, &queue, kept);
        if refused == 0 {
            break;
        }
    }
}

/// Edges of all shapes: more of them in one object than a stack has room for, in slices and elsewhere.
#[derive(Trace)]
#[trace(heap = Poor)]
struct Wide<'g> {
    next: GcCell<'g, Wide<'g>, Poor>,
    all: Vec<Gc<'g, Wide<'g>, Poor>>,
    table: Option<Gc<'g, Slice<Gc<'g, Wide<'g>, Poor>>, Poor>>,
    weak: GcCell<'g, Weak<'g, Wide<'g>, Poor>, Poor>,
    /// What poison is not.
    seven: u64,
}

type GcWide<'g> = Gc<'g, Wide<'g>, Poor>;

fn wide<'g>(
    guard: &'g Guard<'_, Poor>,
    next: Option<GcWide<'g>>,
    all: &[GcWide<'g>],
    table: Option<Gc<'g, Slice<GcWide<'g>>, Poor>>,
) -> GcWide<'g> {
    let (next, all) = (GcCell::new(next), all.to_vec());
    let made = guard.alloc(Wide { next, all, table, weak: GcCell::null(), seven: 7 });
    made.weak.set(guard, Some(guard.downgrade(made)));
    made
}

/// A list, a tree, and a table of objects with something behind them that nothing else leads to.
fn graph(heap: &Heap<Poor>) -> Root<Wide<'static>, Poor> {
    let guard = heap.enter();
    let list = (0..2_000).fold(None, |next, _| Some(wide(&guard, next, &[], None)));
    let leaves: Vec<_> = (0..4_096).map(|_| wide(&guard, None, &[], None)).collect();
    let mut level = leaves.clone();
    while level.len() > 1 {
        level = level.chunks(8).map(|children| wide(&guard, None, children, None)).collect();
    }
    let pair = |_| wide(&guard, Some(wide(&guard, None, &[], None)), &[], None);
    let table = guard.alloc_slice((0..3_000).map(pair).collect::<Vec<_>>());
    guard.root(wide(&guard, list, &[leaves, level].concat(), Some(table)))
}

/// Objects that die at once, and who knows them weakly.
const DEAD: usize = 100;

/// What a mark stack, the batches between workers and the news of weak objects want is refused from the n-th time on,
/// for every small n and some of the others. Whoever marks beside the driver has no room at all.
#[test]
fn marking_without_memory_marks_what_is_alive() {
    let _turn = turn();
    let heap = Heap::<Poor>::builder().slice(64).checkmark(true);
    let heap = heap.build(Blocks::poisoned(), Threads::new()).unwrap();
    let root = graph(&heap);
    let alive = heap.collect().unwrap().marked_objects + DEAD as u64 + 1;
    let mut rescans = 0;
    let mut n = 0;
    loop {
        heap.set_checkmark(false);
        let known = {
            let guard = heap.enter();
            let weak = |_| guard.downgrade(wide(&guard, None, &[], None));
            guard.root(guard.alloc_slice((0..DEAD).map(weak).collect::<Vec<_>>()))
        };
        let helped = Cell::new(false);
        let pause = |_| helped.set(heap.mark_idle() || helped.get());
        let (record, refused) = without(n, 0, || heap.collect_with(pause).unwrap());
        // One that could not be noted keeps its target, and that is known weakly by itself.
        let kept =
            record.marked_objects.checked_sub(alive).expect("not all that is alive is marked");
        assert!(kept <= 2 * DEAD as u64 && (kept == 0 || refused > 0), "{kept} too many");
        assert!(helped.get() || n == 0, "nobody marked beside the driver");
        rescans += record.rescans;
        while !heap.sweep(64) {}
        heap.run_destructors(usize::MAX);
        let all_are = |fine: fn(Option<u64>) -> bool| {
            let guard = heap.enter();
            let known = known.get(&guard);
            let mut found = known.as_slice().iter().map(|weak| weak.upgrade(&guard));
            found.all(|found| fine(found.map(|wide| wide.seven)))
        };
        assert!(all_are(|seven| seven.is_none_or(|seven| seven == 7)), "a weak pointer dangles");
        heap.set_checkmark(true);
        heap.collect().unwrap();
        assert!(all_are(|seven| seven.is_none()));
        if refused == 0 {
            assert_eq!(record.rescans, 0);
            break;
        }
        n += 1 + n / 4;
    }
    assert!(rescans > 10 && heap.stats().rescans == u64::from(rescans), "{rescans} rescans");
    drop(root);
    heap.collect().unwrap();
    heap.collect().unwrap();
    assert_eq!(heap.live_bytes(), 0);
}
