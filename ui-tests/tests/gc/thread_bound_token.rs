use gc_core::{CleanupQueue, Heap, Plain};
use std::rc::Rc;

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let queue = CleanupQueue::new(&heap);
    let guard = heap.enter();
    queue.register(&guard, guard.alloc(7u64), Rc::new(7));
}
