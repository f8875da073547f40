//! What the heap costs a mutator: guards, allocation, stores, binary trees.
//!
//! Each with the background collector at work, on one thread.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gc_core::{Collector, Gc, GcCell, Guard, Heap, Trace};
use std::hint::black_box;

gc_core::tag! {
    struct Bench;
}

#[derive(Trace)]
#[trace(heap = Bench)]
struct Tree<'g> {
    left: Option<Gc<'g, Tree<'g>, Bench>>,
    right: Option<Gc<'g, Tree<'g>, Bench>>,
}

fn tree<'g>(guard: &'g Guard<'_, Bench>, depth: u32) -> Gc<'g, Tree<'g>, Bench> {
    let side = || (depth > 0).then(|| tree(guard, depth - 1));
    let (left, right) = (side(), side());
    guard.alloc(Tree { left, right })
}

fn count(tree: Gc<'_, Tree<'_>, Bench>) -> u32 {
    1 + tree.left.map_or(0, count) + tree.right.map_or(0, count)
}

#[derive(Trace)]
#[trace(heap = Bench)]
struct Cons<'g> {
    next: GcCell<'g, Cons<'g>, Bench>,
}

fn heap(criterion: &mut Criterion) {
    let heap = Heap::<Bench>::new().unwrap();
    let _collector = Collector::start(&heap).unwrap();

    criterion.bench_function("enter and leave", |bench| bench.iter(|| drop(heap.enter())));

    criterion.bench_function("allocate 1000 of 64 bytes", |bench| {
        bench.iter_batched(
            || heap.enter(),
            |guard| {
                for n in 0..1000u64 {
                    black_box(guard.alloc([n; 8]));
                }
            },
            BatchSize::SmallInput,
        );
    });

    criterion.bench_function("store, no cycle", |bench| {
        let guard = heap.enter();
        let cell = guard.alloc(Cons { next: GcCell::null() });
        bench.iter(|| cell.next.set(&guard, Some(cell)));
    });

    criterion.bench_function("binary tree of depth 12", |bench| {
        bench.iter(|| {
            let guard = heap.enter();
            count(tree(&guard, 12))
        });
    });
}

criterion_group!(benches, heap);
criterion_main!(benches);
