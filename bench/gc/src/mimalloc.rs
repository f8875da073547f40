//! Boxes from mimalloc 3: what manual memory management costs on the same trees.

use bench_gc::Trees;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    bench_gc::run(&bench_gc::request("mimalloc"), &Boxes);
}

struct Boxes;

struct Node {
    children: Option<(Box<Node>, Box<Node>)>,
}

impl Node {
    fn build(depth: u32) -> Box<Self> {
        let children = (depth > 0).then(|| (Self::build(depth - 1), Self::build(depth - 1)));
        Box::new(Self { children })
    }

    fn count(&self) -> usize {
        match &self.children {
            Some((left, right)) => left.count() + right.count() + 1,
            None => 1,
        }
    }
}

impl Trees for Boxes {
    type Kept = Box<Node>;

    fn build_and_count(&self, depth: u32) -> usize {
        Node::build(depth).count()
    }

    fn keep(&self, depth: u32) -> Self::Kept {
        Node::build(depth)
    }

    fn count(&self, kept: &Self::Kept) -> usize {
        kept.count()
    }
}
