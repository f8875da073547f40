//! The global allocator has no memory, at each request in turn: what a program asks of the heap is refused with
//! a value, or not needed, and the heap is whole. A cycle goes on without what it asks for itself. The rest is in
//! `docs/soundness.md`.

#[path = "allocator/building.rs"]
mod building;
#[path = "allocator/ending.rs"]
mod ending;
#[path = "allocator/joining.rs"]
mod joining;
#[path = "allocator/looking.rs"]
mod looking;
#[path = "allocator/marking.rs"]
mod marking;
#[path = "allocator/moving.rs"]
mod moving;
#[path = "allocator/refusing.rs"]
mod refusing;
#[path = "allocator/waiting.rs"]
mod waiting;

use gc_core::{
    CleanupQueue, Gc, GcCell, GcMutex, Guard, Heap, Root, Trace, Weak, cycle::Pause,
    policy::WriteBarrier::*, space::blocks::Blocks, world::threads::Threads,
};
use refusing::without;
use std::{
    iter,
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

/// Stores, swaps, upgrades, locks and ends of roots while a cycle runs, and the log finds no memory.
#[test]
fn a_store_without_memory_marks_what_it_takes_out() {
    let _turn = turn();
    // In step 3, and while it marks.
    for (barrier, nth) in [(Deletion, 1), (Deletion, 2), (Hybrid, 1), (Hybrid, 2)] {
        let (heap, mut kept) = (heap(), Kept::with_capacity(200));
        heap.set_write_barrier(barrier);
        let queue = CleanupQueue::new(&heap);
        // A list of which the first is rooted, to be taken apart; and one more root.
        let (list, dropped) = {
            let guard = heap.enter();
            ask(&guard, &queue, &mut kept);
            let link = |next, _| Some(guard.alloc(node(next)));
            let list = guard.alloc(node((0..10_000).fold(None, link)));
            (guard.root(list), guard.root(guard.alloc(node(None))))
        };
        let (mut dropped, mut begun, mut slices) = (Some(dropped), false, 0);
        let pause = |pause| {
            slices += usize::from(pause == Pause::Slice);
            if slices != nth || std::mem::replace(&mut begun, true) {
                return;
            }
            let guard = heap.enter();
            let (first, keeper) = (list.get(&guard), kept[0].get(&guard));
            // Each takes an unmarked object out of where it is, and puts it in elsewhere.
            let work = || {
                while let Some(next) = first.next.load() {
                    let rest = next.next.swap(&guard, keeper.next.load());
                    first.next.set(&guard, rest);
                    assert!(
                        keeper.next.compare_exchange(&guard, next.next.load(), Some(next)).is_ok()
                    );
                }
                let weak = keeper.weak.load().map(|weak| weak.upgrade(&guard));
                assert!(weak.is_none_or(|found| found == Some(keeper)));
                drop(dropped.take());
            };
            assert!(without(0, CHUNK, work).1 > 0);
            // Its interior is to be reported, once in step 5, and there is no room for its edges, or none in the log.
            for bytes in &[0, CHUNK][nth - 1..] {
                let take = || std::mem::take(&mut *keeper.locked.lock(&guard));
                let (taken, refused) = without(0, *bytes, take);
                assert!(refused > 0 && taken[0] == Some(keeper));
                *keeper.locked.lock(&guard) = taken;
            }
        };
        let record = heap.collect_with(pause).unwrap();
        assert!(begun && record.rescans > 0);
        let moved = {
            let guard = heap.enter();
            iter::successors(kept[0].get(&guard).next.load(), |node| node.next.load()).count()
        };
        assert!(moved >= 10_000, "{moved} moved");
        drop(list);
        check(&heap, &queue, kept);
    }
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
