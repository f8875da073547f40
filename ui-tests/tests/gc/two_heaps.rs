use gc_core::{GcCell, Heap};

gc_core::tag! { struct One; }
gc_core::tag! { struct Two; }

fn main() {
    let (one, two) = (Heap::<One>::new().unwrap(), Heap::<Two>::new().unwrap());
    let (one, two) = (one.enter(), two.enter());
    let slot: GcCell<'_, u64, One> = GcCell::null();
    slot.set(&one, Some(two.alloc(1)));
}
