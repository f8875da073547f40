use gc_core::{Str, Trace};

#[derive(Trace)]
struct Person {
    // A string has a length of its own: it lies behind a `Gc`.
    name: Str,
}

fn main() {}
