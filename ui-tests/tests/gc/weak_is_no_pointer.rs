use gc_core::{Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let guard = heap.enter();
    let weak = guard.downgrade(guard.alloc(7u64));
    assert_eq!(**weak, 7);
}
