use gc_core::Trace;

#[derive(Trace)]
struct Node<'g> {
    name: &'g str,
}

fn main() {}
