use gc_core::{GcCell, Trace};

type Hidden<'a> = GcCell<'a, u64>;

#[derive(Trace)]
struct Node<'g> {
    #[leaf]
    next: Hidden<'g>,
}

fn main() {}
