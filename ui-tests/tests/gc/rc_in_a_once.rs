use gc_core::{Gc, GcOnce, Trace};
use std::rc::Rc;

#[derive(Trace)]
struct Node<'g> {
    edge: GcOnce<Rc<Gc<'g, u64>>>,
}

fn main() {}
