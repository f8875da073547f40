use gc_core::{Gc, Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let outer = heap.enter();
    let weak = outer.root(outer.downgrade(outer.alloc(7u64)));
    drop(outer);
    let escaped: Option<Gc<'_, u64>> = {
        let guard = heap.enter();
        weak.get(&guard).upgrade(&guard)
    };
    assert!(escaped.is_some());
}
