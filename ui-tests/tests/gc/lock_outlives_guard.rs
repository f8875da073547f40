use gc_core::{GcMutex, Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let outer = heap.enter();
    let list = outer.alloc(GcMutex::new(vec![1u64]));
    let held = {
        let guard = heap.enter();
        list.lock(&guard)
    };
    assert_eq!(held.len(), 1);
}
