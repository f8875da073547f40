use gc_core::{GcMutex, Heap, Plain};

gc_core::tag! { struct Other; }

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let other = Heap::<Other>::new().unwrap();
    let (guard, foreign) = (heap.enter(), other.enter());
    let list = guard.alloc(GcMutex::<Vec<u64>, Plain>::default());
    list.lock(&foreign).push(1);
}
