use gc_core::{GcCell, Heap, Plain, Trace};

#[derive(Trace)]
struct Node<'g> {
    next: GcCell<'g, Node<'g>>,
}

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let mut escaped = None;
    {
        let guard = heap.enter();
        let node = guard.alloc(Node { next: GcCell::null() });
        escaped.replace(Node { next: GcCell::new(Some(node)) });
    }
    drop(escaped);
}
