use gc_core::{GcRwLock, Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let mut guard = heap.enter();
    let root = guard.root(guard.alloc(GcRwLock::new(vec![1u64])));
    let outer = heap.enter();
    let held = root.get(&outer).get().write(&guard);
    guard.repin();
    drop(held);
}
