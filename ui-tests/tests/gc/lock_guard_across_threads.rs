use gc_core::{GcMutex, Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let guard = heap.enter();
    let count = guard.alloc(GcMutex::new(1u64));
    let held = count.lock(&guard);
    std::thread::scope(|scope| {
        scope.spawn(move || drop(held));
    });
}
