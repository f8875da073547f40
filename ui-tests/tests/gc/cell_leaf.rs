use gc_core::Trace;
use std::cell::Cell;

#[derive(Trace)]
struct Counter {
    #[leaf]
    count: Cell<u64>,
}

fn main() {}
