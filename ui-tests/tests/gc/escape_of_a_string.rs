use gc_core::{Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let text: &str = {
        let guard = heap.enter();
        guard.alloc_str("gone").as_str()
    };
    assert_eq!(text, "gone");
}
