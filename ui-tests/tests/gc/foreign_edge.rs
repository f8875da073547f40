use gc_core::{GcCell, Heap, Plain, Trace};

gc_core::tag! { struct Other; }

#[derive(Trace)]
struct Node<'g> {
    next: GcCell<'g, Node<'g>, Other>,
}

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    heap.enter().alloc(Node { next: GcCell::null() });
}
