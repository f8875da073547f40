//! The global allocator has no memory, at each request in turn: what a program asks of the heap is refused with
//! a value, or not needed, and the heap is whole. A cycle goes on without what it asks for itself. The rest is in
//! `docs/soundness.md`.

#[path = "allocator/marking.rs"]
mod marking;
#[path = "allocator/refusing.rs"]
mod refusing;
#[path = "allocator/waiting.rs"]
mod waiting;

use gc_core::{
    CleanupQueue, Gc, GcCell, GcMutex, Guard, Heap, Root, Trace, Weak, cycle::Pause,
    space::blocks::Blocks, world::threads::Threads,
};
use refusing::without;
use std::{
    iter,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard},
};

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
