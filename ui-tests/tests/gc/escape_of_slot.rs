use gc_core::{GcCell, Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let slot: GcCell<'_, u64> = GcCell::null();
    {
        let guard = heap.enter();
        slot.set(&guard, Some(guard.alloc(1)));
    }
    println!("{:?}", slot.load());
}
