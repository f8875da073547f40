use gc_core::{Gc, Trace};
use std::cell::Cell;

#[derive(Trace)]
struct Node<'g> {
    next: Cell<Option<Gc<'g, Node<'g>>>>,
}

fn main() {}
