use gc_core::{Trace, Weak};

#[derive(Trace)]
struct Node<'g> {
    // By value it could be moved where the collector does not look for it: there is no such value.
    parent: Weak<'g, Node<'g>>,
}

fn main() {
    let _ = Node { parent: Weak::new() };
}
