//! Allocate and free, against the system allocator: a pair at once, a thousand then a thousand, and
//! the replacement of a random block among many.

use std::{
    alloc::{GlobalAlloc as _, Layout, System},
    hint::black_box,
};

use alloc_core::{
    Heap,
    global::{GlobalAlloc, ThreadBinding},
    pages::os::Os,
};
use criterion::{Criterion, criterion_group, criterion_main};

static OURS: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();

/// Runs `f` with each allocator as a pair of functions.
macro_rules! both {
    ($f:ident, $c:expr, $name:expr, $($arg:expr),*) => {
        // SAFETY: the workloads free each block once, with the layout it was allocated with.
        unsafe {
            $f($c, &format!("{} ours", $name), |l| OURS.alloc(l), |p, l| OURS.dealloc(p, l), $($arg),*);
            $f($c, &format!("{} system", $name), |l| System.alloc(l), |p, l| System.dealloc(p, l), $($arg),*);
        }
    };
}

fn pair(
    c: &mut Criterion,
    name: &str,
    alloc: impl Fn(Layout) -> *mut u8,
    free: impl Fn(*mut u8, Layout),
    layout: Layout,
) {
    c.bench_function(name, |b| b.iter(|| free(black_box(alloc(black_box(layout))), layout)));
}

fn thousand(
    c: &mut Criterion,
    name: &str,
    alloc: impl Fn(Layout) -> *mut u8,
    free: impl Fn(*mut u8, Layout),
    layout: Layout,
) {
    let mut blocks = Vec::with_capacity(1000);
    c.bench_function(name, |b| {
        b.iter(|| {
            blocks.extend((0..1000).map(|_| alloc(layout)));
            blocks.drain(..).for_each(|block| free(block, layout));
        });
    });
}

fn replace(
    c: &mut Criterion,
    name: &str,
    alloc: impl Fn(Layout) -> *mut u8,
    free: impl Fn(*mut u8, Layout),
    live: usize,
    largest: usize,
) {
    let mut seed = 1_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize
    };
    let mut layout = move || Layout::from_size_align(16 + next() % (largest - 15), 8).unwrap();
    let mut blocks: Vec<_> = (0..live)
        .map(|_| {
            let l = layout();
            (alloc(l), l)
        })
        .collect();
    let mut at = 0_usize;
    c.bench_function(name, |b| {
        b.iter(|| {
            at = (at.wrapping_mul(1_664_525) + 1_013_904_223) % live;
            let (block, old) = blocks[at];
            free(block, old);
            let new = layout();
            blocks[at] = (alloc(new), new);
        });
    });
    blocks.into_iter().for_each(|(block, layout)| free(block, layout));
}

fn cache(c: &mut Criterion) {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let layout = Layout::new::<[u64; 2]>();
    c.bench_function("pair 16 B, a cache without binding", |b| {
        b.iter(|| {
            let block = black_box(cache.alloc(black_box(layout)).unwrap());
            // SAFETY: allocated by the line above.
            unsafe { cache.free(block) };
        });
    });
}

fn all(c: &mut Criterion) {
    cache(c);
    for size in [16, 256, 1024, 4096, 8192, 32768, 100_000] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        both!(pair, c, format!("pair {size} B"), layout);
    }
    for size in [64, 1024] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        both!(thousand, c, format!("1000 then 1000, {size} B"), layout);
    }
    both!(replace, c, "replace one of 10k, 16-1024 B", 10_000, 1024);
    both!(replace, c, "replace one of 1M, 16-512 B", 1_000_000, 512);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_millis(700)).warm_up_time(std::time::Duration::from_millis(200)).without_plots();
    targets = all
}
criterion_main!(benches);
