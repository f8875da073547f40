use gc_core::{Heap, Plain};

gc_core::tag! { struct Other; }

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let other = Heap::<Other>::new().unwrap();
    let root = {
        let guard = heap.enter();
        guard.root(guard.alloc(7u64))
    };
    let foreign = other.enter();
    assert_eq!(*root.get(&foreign), 7);
}
