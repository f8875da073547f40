//! Both page heaps at the same work: take and free runs of pages, no memory behind them.
//!
//! * *pair*: one span of 8 pages, over and over, at the low end of a heap that is mostly full.
//! * *random*: one of 4,000 spans of 1 to 64 pages is replaced, at random.
//! * *fragmented*: every other page of 200,000 is in use; a page is freed and taken, then a run that
//!   only fits behind all the holes.
//! * *large*: runs of 4 to 64 MiB among others.
//!
//! The figure is processor time of the thread, so that a busy machine does little harm.

use std::{
    alloc::{Layout, alloc_zeroed},
    hint::black_box,
    ops::Range,
    ptr::NonNull,
    time::Duration,
};

use alloc_core::page_heap::{PageHeap, Radix, Room, Treap};
use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};

/// Memory that lives as long as the process.
struct Leak;

// SAFETY: fresh zeroed memory that is never freed.
unsafe impl Room for Leak {
    fn zeroed(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        // SAFETY: no table is empty.
        NonNull::new(unsafe { alloc_zeroed(Layout::from_size_align(bytes, align).ok()?) })
    }
}

/// Where Go's heap begins, in pages.
const START: usize = 0xc0_0000_0000 / 8192;

fn heap<P: PageHeap>(pages: usize) -> P {
    let mut heap = P::EMPTY;
    heap.prepare(&Leak, START..START + pages).expect("the system has memory");
    heap.insert(START..START + pages);
    heap
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn take(heap: &mut impl PageHeap, pages: usize) -> Range<usize> {
    let first = heap.take(pages, 1).expect("the heap is large enough");
    first..first + pages
}

/// Replaces one of `spans` by one of another length.
fn replace(
    heap: &mut impl PageHeap,
    spans: &mut [Range<usize>],
    random: &mut Random,
    pages: impl Fn(&mut Random) -> usize,
) {
    let at = random.below(spans.len());
    heap.insert(spans[at].clone());
    spans[at] = take(heap, pages(random));
}

/// Processor time that this thread has used.
fn cpu_time() -> Duration {
    // SAFETY: zeroes are a time, and the call writes one.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

/// Processor time of so many calls of `work`.
fn time(times: u64, mut work: impl FnMut()) -> Duration {
    let begin = cpu_time();
    (0..times).for_each(|_| work());
    cpu_time() - begin
}

fn bench<P: PageHeap>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str) {
    group.bench_function(format!("pair/{name}"), |bencher| {
        let mut heap = heap::<P>(1 << 20);
        let full: Vec<_> = (0..10_000).map(|_| take(&mut heap, 8)).collect();
        heap.insert(full[5_000].clone());
        bencher.iter_custom(|times| {
            time(times, || {
                let span = take(&mut heap, black_box(8));
                heap.insert(span);
            })
        });
    });
    group.bench_function(format!("random/{name}"), |bencher| {
        let (mut heap, mut random) = (heap::<P>(1 << 20), Random(7));
        let mut spans: Vec<_> = (0..4_000).map(|_| take(&mut heap, 1 + random.below(64))).collect();
        bencher.iter_custom(|times| {
            time(times, || replace(&mut heap, &mut spans, &mut random, |r| 1 + r.below(64)))
        });
    });
    group.bench_function(format!("fragmented/{name}"), |bencher| {
        let (mut heap, mut random) = (heap::<P>(1 << 20), Random(7));
        let mut single: Vec<_> = (0..200_000).map(|_| take(&mut heap, 1)).collect();
        single.iter().step_by(2).for_each(|page| heap.insert(page.clone()));
        let mut kept: Vec<_> = single.drain(..).skip(1).step_by(2).collect();
        bencher.iter_custom(|times| {
            time(times, || {
                replace(&mut heap, &mut kept, &mut random, |_| 1);
                let run = take(&mut heap, black_box(4));
                heap.insert(run);
            })
        });
    });
    group.bench_function(format!("large/{name}"), |bencher| {
        let (mut heap, mut random) = (heap::<P>(1 << 21), Random(7));
        let pages = |r: &mut Random| 512 << r.below(5);
        let mut spans: Vec<_> = (0..100).map(|_| take(&mut heap, pages(&mut random))).collect();
        bencher.iter_custom(|times| {
            time(times, || replace(&mut heap, &mut spans, &mut random, pages))
        });
    });
}

fn both(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("page heap");
    bench::<Treap>(&mut group, "treap");
    bench::<Radix>(&mut group, "radix");
    group.finish();
}

criterion_group!(benches, both);
criterion_main!(benches);
