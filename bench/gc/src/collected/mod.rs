//! The workloads in the collected heap. The program that includes this folder says whose heap:
//! `crate::library` is `gc_core` or `runtime::gc`, and `crate::mutate` runs its mutators.

mod batches;
mod holders;
mod live;
mod maps;
mod shared;
mod trees;

use bench_gc::Mutators;
use harness::Request;

use crate::library::{Heap, Root};

/// A heap, and what its mutators share.
pub(crate) struct Collected {
    heap: Heap,
    stack: Root<shared::Stack<'static>>,
    queue: Root<shared::Queue<'static>>,
    pages: Root<maps::Pages<'static>>,
}

impl Collected {
    pub(crate) fn new(heap: Heap) -> Self {
        let guard = heap.enter();
        let (stack, queue) = (shared::Stack::root(&guard), shared::Queue::root(&guard));
        let pages = maps::table(&guard);
        drop(guard);
        Self { heap, stack, queue, pages }
    }

    /// Runs a row; false if it is nobody's here.
    pub(crate) fn run(&self, request: &Request) -> bool {
        bench_gc::trees::run(request, self)
            || bench_gc::batches::run(request, self)
            || bench_gc::live::run(request, self)
            || bench_gc::shared::run(request, self)
            || bench_gc::maps::run_cache(request, self)
            || bench_gc::holders::run(request, self)
    }
}

impl Mutators for Collected {
    fn mutate(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        crate::mutate(count, work);
    }
}
