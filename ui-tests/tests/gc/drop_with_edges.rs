use gc_core::{GcCell, Trace};

#[derive(Trace)]
struct Node<'g> {
    next: GcCell<'g, Node<'g>>,
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        self.next.load();
    }
}

fn main() {}
