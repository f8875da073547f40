use gc_core::{GcCell, Trace};
use std::rc::Rc;

#[derive(Trace)]
struct Node<'g> {
    next: Rc<GcCell<'g, Node<'g>>>,
}

fn main() {}
