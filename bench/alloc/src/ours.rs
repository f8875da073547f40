//! Ours on plain threads: alloc-core alone, each thread with a cache of its own, and the thread that gives
//! free memory back, as a program starts it.

use alloc_core::global::{self, GlobalAlloc, ThreadBinding};
use alloc_core::scavenge::{self, ByAge};

#[global_allocator]
static ALLOCATOR: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();

fn release() {
    ALLOCATOR.release();
}

fn main() {
    let scavenger = scavenge::background(global::heap(), ByAge::default()).expect("the first one");
    bench_alloc::main("ours", Some(release));
    drop(scavenger);
}
