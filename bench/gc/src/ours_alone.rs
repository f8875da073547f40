//! Ours without the rest: gc-core with blocks from malloc (alloc-core's), on plain threads, with
//! one thread to collect.

mod collected;
mod ordered;

use std::time::Duration;

use gc_core as library;
use library::Collector;

#[global_allocator]
static ALLOCATOR: alloc_core::global::GlobalAlloc<alloc_core::global::ThreadBinding> =
    alloc_core::global::GlobalAlloc::new();

fn main() {
    let request = harness::Request::from_args("ours-alone");
    let heap = library::Heap::new().expect("the first heap of this program");
    let collector = Collector::start(&heap).expect("a thread can be started");
    let known = collected::Collected::new(heap.clone()).run(&request)
        || bench_gc::maps::run_map(&request, &ordered::Ordered::new(heap));
    if !known {
        request.unknown();
    }
    drop(collector);
}

fn mutate(count: usize, work: &(dyn Fn(usize) + Sync)) {
    bench_gc::on_threads(count, work);
}

fn collect(heap: &library::Heap) {
    heap.collect().expect("no guard is held");
}

/// The collector's thread and the mutators' share two processors: what passes on the clock while one of them
/// works is not all its own.
fn time(_: &library::stats::Stats) -> Option<Duration> {
    None
}

fn sleep(time: Duration) {
    std::thread::sleep(time);
}
