use gc_core::{GcCell, Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let outer = heap.enter();
    let slot: GcCell<'_, u64> = GcCell::new(Some(outer.alloc(1)));
    {
        let inner = heap.enter();
        slot.set(&outer, Some(inner.alloc(2)));
    }
    println!("{:?}", slot.load());
}
