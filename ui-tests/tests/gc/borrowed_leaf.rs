use gc_core::Trace;

#[derive(Trace)]
struct Node<'g> {
    #[leaf]
    name: &'g str,
}

fn main() {}
