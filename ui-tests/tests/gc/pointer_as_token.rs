use gc_core::{CleanupQueue, Gc, Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let queue = CleanupQueue::<Gc<'_, u64>>::new(&heap);
    let guard = heap.enter();
    let object = guard.alloc(7u64);
    queue.register(&guard, object, object);
}
