use gc_core::Trace;
use std::rc::Rc;

#[derive(Trace)]
struct Node {
    #[leaf]
    name: Rc<str>,
}

fn main() {}
