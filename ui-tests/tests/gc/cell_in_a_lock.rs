use gc_core::{Gc, GcMutex, Trace};
use std::cell::Cell;

#[derive(Trace)]
struct Node<'g> {
    edges: GcMutex<Cell<Option<Gc<'g, u64>>>>,
}

fn main() {}
