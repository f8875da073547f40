use gc_core::{Gc, Trace};

trait Shape: Trace {}

#[derive(Trace)]
struct Picture<'g> {
    shape: Gc<'g, dyn Shape + 'g>,
}

fn main() {}
