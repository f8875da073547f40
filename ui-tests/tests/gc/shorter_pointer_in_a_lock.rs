use gc_core::{Gc, GcMutex, Guard, Heap, Plain};

fn keep<'long>(list: Gc<'long, GcMutex<Vec<Gc<'long, u64>>>>, heap: &Heap<Plain>) {
    let guard: Guard<'_> = heap.enter();
    let short = guard.alloc(7u64);
    list.lock(&guard).push(short);
}

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let guard = heap.enter();
    keep(guard.alloc(GcMutex::new(Vec::new())), &heap);
}
