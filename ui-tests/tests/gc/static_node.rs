//! A node with a lifetime that no guard has, whose slots would hand out pointers for ever.

use gc_core::{GcCell, Heap, Plain, Trace};

#[derive(Trace)]
struct Node<'g> {
    next: GcCell<'g, Node<'g>>,
}

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let guard = heap.enter();
    let node = guard.alloc(Node::<'static> { next: GcCell::null() });
    let forever: Option<gc_core::Gc<'static, Node<'static>>> = node.next.load();
    drop(forever);
}
