use gc_core::{GcCell, Trace};

#[derive(Trace)]
struct Node<'g, 'b> {
    next: GcCell<'g, Node<'g, 'b>>,
    other: GcCell<'b, Node<'g, 'b>>,
}

fn main() {}
