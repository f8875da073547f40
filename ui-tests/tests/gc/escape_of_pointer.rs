use gc_core::{Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let escaped = {
        let guard = heap.enter();
        guard.alloc(1u64)
    };
    println!("{}", *escaped);
}
