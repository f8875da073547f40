//! Lists, graphs and chains, each under one guard.

use bench_gc::batches::{Batches, CHAIN};
use bench_gc::random;

use super::Collected;
use crate::library::{Gc, GcCell, Guard, Trace};

#[derive(Trace)]
struct Item<'g> {
    number: u64,
    before: GcCell<'g, Item<'g>>,
    after: GcCell<'g, Item<'g>>,
}

impl<'g> Item<'g> {
    fn alloc(guard: &'g Guard<'_>, number: u64) -> Gc<'g, Self> {
        guard.alloc(Self { number, before: GcCell::null(), after: GcCell::null() })
    }
}

#[derive(Trace)]
struct Node<'g> {
    number: u64,
    edges: [GcCell<'g, Node<'g>>; 2],
}

#[derive(Trace)]
struct Link<'g, const WORDS: usize> {
    next: Option<Gc<'g, Link<'g, WORDS>>>,
    words: [u64; WORDS],
}

impl Batches for Collected {
    fn list(&self, nodes: usize) -> u64 {
        let guard = self.heap.enter();
        let first = Item::alloc(&guard, 0);
        let mut last = first;
        for number in 1..nodes as u64 {
            let item = Item::alloc(&guard, number);
            item.before.set(&guard, Some(last));
            last.after.set(&guard, Some(item));
            last = item;
        }
        let mut sum = 0;
        let mut at = Some(first);
        while let Some(item) = at {
            sum += item.number;
            at = item.after.load();
        }
        at = Some(last);
        while let Some(item) = at {
            sum += item.number;
            at = item.before.load();
        }
        sum
    }

    fn graph(&self, nodes: usize, mut seed: u64) -> u64 {
        let guard = self.heap.enter();
        let node = |number| guard.alloc(Node { number, edges: [GcCell::null(), GcCell::null()] });
        let all: Vec<Gc<'_, Node<'_>>> = (0..nodes as u64).map(node).collect();
        for node in &all {
            for edge in &node.edges {
                edge.set(&guard, Some(all[random(&mut seed) as usize % nodes]));
            }
        }
        let (mut at, mut sum) = (all[0], 0);
        for step in 0..nodes {
            at = at.edges[step % 2].load().expect("every node has both edges");
            sum += at.number;
        }
        sum
    }

    fn chains<const WORDS: usize>(&self, chains: usize) {
        for _ in 0..chains {
            let guard = self.heap.enter();
            let mut next = None;
            for number in 0..CHAIN as u64 {
                let mut words = [0; WORDS];
                words[0] = number;
                next = Some(guard.alloc(Link { next, words }));
            }
            std::hint::black_box(next.map(|link| link.words[0]));
        }
    }
}
