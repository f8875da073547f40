//! As `dyn_for_static_alone`, by what a supertrait gives out: an edge in what the collector takes for a leaf.

use std::sync::OnceLock;

use gc_core::{Gc, GcCell, Heap, Plain, Trace, rebind_dyn, unsize};

#[derive(Trace)]
struct Node<'g> {
    next: GcCell<'g, Node<'g>>,
}

trait Place<'g> {
    fn place(&self) -> &OnceLock<Gc<'g, Node<'g>>>;
}

trait Visit<'g>: Trace + Place<'g> {}
rebind_dyn!(Visit<'_>);

#[derive(Trace)]
struct Leaf(#[leaf] OnceLock<Gc<'static, Node<'static>>>);

impl Place<'static> for Leaf {
    fn place(&self) -> &OnceLock<Gc<'static, Node<'static>>> {
        &self.0
    }
}

impl Visit<'static> for Leaf {}

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let guard = heap.enter();
    let leaf = guard.alloc(Leaf(OnceLock::new()));
    let root = guard.root(unsize!(leaf => dyn Visit<'static>));
    let _ = root.get(&guard).place().set(guard.alloc(Node { next: GcCell::null() }));
}
