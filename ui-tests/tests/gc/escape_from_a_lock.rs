use gc_core::{GcMutex, Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let guard = heap.enter();
    let list = guard.alloc(GcMutex::new(vec![1u64]));
    let first: &u64 = {
        let held = list.lock(&guard);
        &held[0]
    };
    assert_eq!(*first, 1);
}
