use gc_core::{Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let guard = heap.enter();
    drop(heap);
    guard.alloc(1u64);
}
