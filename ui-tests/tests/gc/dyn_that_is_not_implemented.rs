use gc_core::{Heap, Plain, Trace, rebind_dyn, unsize};

trait Shape: Trace {}
rebind_dyn!(Shape);

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let guard = heap.enter();
    unsize!(guard.alloc(7u64) => dyn Shape);
}
