use gc_core::{GcCell, Trace};

type Hidden = GcCell<'static, u64>;

#[derive(Trace)]
struct Node<'g> {
    next: Hidden,
    other: GcCell<'g, u64>,
}

fn main() {}
