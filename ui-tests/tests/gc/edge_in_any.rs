use gc_core::Trace;
use std::any::Any;

#[derive(Trace)]
struct Node<'g> {
    #[leaf]
    next: Box<dyn Any + Send + Sync + 'g>,
}

fn main() {}
