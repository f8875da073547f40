use gc_core::{CleanupQueue, Heap, Plain};

gc_core::tag! { struct Other; }

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let other = Heap::<Other>::new().unwrap();
    let queue = CleanupQueue::<u64, Plain>::new(&heap);
    let foreign = other.enter();
    queue.register(&foreign, foreign.alloc(7u64), 7);
}
