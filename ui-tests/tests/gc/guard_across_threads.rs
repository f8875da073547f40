use gc_core::{Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let guard = heap.enter();
    std::thread::scope(|scope| {
        scope.spawn(move || drop(guard));
    });
}
