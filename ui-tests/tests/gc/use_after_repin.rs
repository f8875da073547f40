use gc_core::{Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let mut guard = heap.enter();
    let pointer = guard.alloc(1u64);
    guard.repin();
    println!("{}", *pointer);
}
