use gc_core::{Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let guard = heap.enter();
    let escaped: &u64 = guard.alloc(1u64).get();
    drop(guard);
    println!("{escaped}");
}
