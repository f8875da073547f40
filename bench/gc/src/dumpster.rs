//! dumpster: reference counts, and a search for cycles. One thread; the lists and graphs only, and fewer
//! of their nodes: the CPU time per node grows with their number.

use std::cell::RefCell;

use bench_gc::batches::Batches;
use bench_gc::random;
use dumpster::{Trace, unsync::Gc};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let request = harness::Request::from_args("dumpster");
    let known = matches!(request.row.as_str(), "list" | "graph")
        && bench_gc::batches::run(&request, &Counted);
    if !known {
        request.unknown();
    }
}

struct Counted;

#[derive(Trace)]
struct Item {
    number: u64,
    before: RefCell<Option<Gc<Item>>>,
    after: RefCell<Option<Gc<Item>>>,
}

#[derive(Trace)]
struct Node {
    number: u64,
    edges: [RefCell<Option<Gc<Node>>>; 2],
}

impl Batches for Counted {
    fn list(&self, nodes: usize) -> u64 {
        let item = |number, before| {
            Gc::new(Item { number, before: RefCell::new(before), after: RefCell::new(None) })
        };
        let first = item(0, None);
        let mut last = first.clone();
        for number in 1..nodes as u64 {
            let next = item(number, Some(last.clone()));
            *last.after.borrow_mut() = Some(next.clone());
            last = next;
        }
        let (mut sum, mut at) = (0, Some(first));
        while let Some(item) = at {
            sum += item.number;
            at = item.after.borrow().clone();
        }
        at = Some(last);
        while let Some(item) = at {
            sum += item.number;
            at = item.before.borrow().clone();
        }
        sum
    }

    fn graph(&self, nodes: usize, mut seed: u64) -> u64 {
        let node = |number| Gc::new(Node { number, edges: [const { RefCell::new(None) }; 2] });
        let all: Vec<Gc<Node>> = (0..nodes as u64).map(node).collect();
        for node in &all {
            for edge in &node.edges {
                *edge.borrow_mut() = Some(all[random(&mut seed) as usize % nodes].clone());
            }
        }
        let (mut at, mut sum) = (all[0].clone(), 0);
        for step in 0..nodes {
            let next = at.edges[step % 2].borrow().clone().expect("every node has both edges");
            at = next;
            sum += at.number;
        }
        sum
    }

    fn chains<const WORDS: usize>(&self, _: usize) {
        unreachable!("not asked for");
    }
}
