use gc_core::{Gc, GcOnce, Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let escaped: Gc<'_, u64> = {
        let guard = heap.enter();
        let once = guard.alloc(GcOnce::<Gc<'_, u64>>::new());
        *once.get().get_or_init(&guard, || guard.alloc(7))
    };
    assert_eq!(*escaped, 7);
}
