use gc_core::{Gc, Trace};
use std::sync::Mutex;

#[derive(Trace)]
struct Node<'g> {
    next: Mutex<Option<Gc<'g, Node<'g>>>>,
}

fn main() {}
