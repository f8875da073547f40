use gc_core::{Heap, Plain, Trace};
use std::cell::RefCell;

#[derive(Trace)]
struct Shared(#[leaf] RefCell<u64>);

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let guard = heap.enter();
    guard.root(guard.alloc(Shared(RefCell::new(1))));
}
