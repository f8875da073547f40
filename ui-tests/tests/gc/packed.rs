use gc_core::{GcCell, Trace};

#[derive(Trace)]
#[repr(C, packed)]
struct Node<'g> {
    next: GcCell<'g, Node<'g>>,
}

fn main() {}
