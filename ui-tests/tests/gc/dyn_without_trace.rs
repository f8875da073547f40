use gc_core::{Gc, Trace, rebind_dyn};

// Says nothing about threads, so what is behind it may be bound to one.
trait Shape {}
rebind_dyn!(Shape);

#[derive(Trace)]
struct Picture<'g> {
    shape: Gc<'g, dyn Shape + 'g>,
}

fn main() {}
