//! Ours on plain threads: alloc-core alone, each thread with a cache of its own.

use alloc_core::global::{GlobalAlloc, ThreadBinding};

#[global_allocator]
static ALLOCATOR: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();

fn main() {
    bench_alloc::main("ours");
}
