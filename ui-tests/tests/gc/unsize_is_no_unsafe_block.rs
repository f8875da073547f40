use gc_core::{Heap, Plain, Trace, rebind_dyn, unsize};

trait Shape: Trace {}
rebind_dyn!(Shape);
impl Shape for u64 {}

unsafe fn dangerous() -> u64 {
    7
}

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let guard = heap.enter();
    unsize!(guard.alloc(dangerous()) => dyn Shape);
}
