use gc_core::{GcCell, Heap, Plain};

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let slot: GcCell<'_, u64> = GcCell::null();
    let guard = heap.enter();
    let pointer = guard.alloc(1u64);
    slot.set(Some(pointer));
}
