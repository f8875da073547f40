use gc_core::{GcCell, Trace};

#[derive(Trace)]
#[trace(tag = Other)]
struct Node<'g> {
    next: GcCell<'g, Node<'g>>,
}

#[derive(Trace)]
#[trace(crate = nowhere)]
struct Lost<'g> {
    next: GcCell<'g, Lost<'g>>,
}

fn main() {}
