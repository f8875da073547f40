//! Ours without the rest: gc-core with blocks from malloc (alloc-core's), on plain threads, with
//! one thread to collect.

mod collected;

use gc_core as library;
use library::Collector;

#[global_allocator]
static ALLOCATOR: alloc_core::global::GlobalAlloc<alloc_core::global::ThreadBinding> =
    alloc_core::global::GlobalAlloc::new();

fn main() {
    let request = bench_gc::request("ours-alone");
    let heap = library::Heap::new().expect("the first heap of this program");
    let collector = Collector::start(&heap).expect("a thread can be started");
    bench_gc::run(&request, &collected::Collected(heap));
    drop(collector);
}
