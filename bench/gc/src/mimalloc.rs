//! Boxes from mimalloc 3: what manual memory management costs. Whoever drops a structure frees each
//! of its nodes.

use std::ptr;
use std::sync::{Arc, Mutex, Weak};

use bench_gc::Mutators;
use bench_gc::batches::{Batches, CHAIN};
use bench_gc::live::{Live, SUBTREE};
use bench_gc::maps::{Cache, PAGES, RECENT, WORDS};
use bench_gc::random;
use bench_gc::trees::Trees;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let request = harness::Request::from_args("mimalloc");
    let known = bench_gc::trees::run(&request, &Boxes)
        || bench_gc::batches::run(&request, &Boxes)
        || bench_gc::live::run(&request, &Boxes)
        || bench_gc::maps::run_cache(&request, &Counted::new());
    if !known {
        request.unknown();
    }
}

struct Boxes;

impl Mutators for Boxes {
    fn mutate(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        bench_gc::on_threads(count, work);
    }
}

struct Tree {
    children: Option<(Box<Tree>, Box<Tree>)>,
}

impl Tree {
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
    type Kept = Box<Tree>;

    fn build_and_count(&self, depth: u32) -> usize {
        Tree::build(depth).count()
    }

    fn keep(&self, depth: u32) -> Self::Kept {
        Tree::build(depth)
    }

    fn count(&self, kept: &Self::Kept) -> usize {
        kept.count()
    }
}

struct Item {
    number: u64,
    before: *mut Item,
    after: *mut Item,
}

struct Node {
    number: u64,
    edges: [*const Node; 2],
}

struct Link<const WORDS: usize> {
    next: Option<Box<Link<WORDS>>>,
    words: [u64; WORDS],
}

impl Batches for Boxes {
    fn list(&self, nodes: usize) -> u64 {
        let alloc = |number, before| {
            Box::into_raw(Box::new(Item { number, before, after: ptr::null_mut() }))
        };
        let first = alloc(0, ptr::null_mut());
        let mut last = first;
        for number in 1..nodes as u64 {
            let item = alloc(number, last);
            // SAFETY: the last item is alive, and nobody else uses it.
            unsafe { (*last).after = item };
            last = item;
        }
        let (mut sum, mut at) = (0, first);
        // SAFETY: the pointer is null or leads to an item that is not freed yet.
        while let Some(item) = unsafe { at.as_ref() } {
            sum += item.number;
            at = item.after;
        }
        at = last;
        // SAFETY: as above.
        while let Some(item) = unsafe { at.as_ref() } {
            sum += item.number;
            at = item.before;
        }
        at = first;
        while !at.is_null() {
            // SAFETY: from a box, and freed once.
            at = unsafe { Box::from_raw(at) }.after;
        }
        sum
    }

    fn graph(&self, nodes: usize, mut seed: u64) -> u64 {
        let node = |number| Box::into_raw(Box::new(Node { number, edges: [ptr::null(); 2] }));
        let all: Vec<*mut Node> = (0..nodes as u64).map(node).collect();
        for node in &all {
            for edge in 0..2 {
                // SAFETY: the node is alive, and nobody else uses it.
                unsafe { (**node).edges[edge] = all[random(&mut seed) as usize % nodes] };
            }
        }
        let (mut at, mut sum) = (all[0].cast_const(), 0);
        for step in 0..nodes {
            // SAFETY: all edges are set, and all nodes are alive.
            unsafe {
                at = (*at).edges[step % 2];
                sum += (*at).number;
            }
        }
        // SAFETY: from boxes, and freed once.
        all.into_iter().for_each(|node| drop(unsafe { Box::from_raw(node) }));
        sum
    }

    fn chains<const WORDS: usize>(&self, chains: usize) {
        for _ in 0..chains {
            let mut next = None;
            for number in 0..CHAIN as u64 {
                let mut words = [0; WORDS];
                words[0] = number;
                next = Some(Box::new(Link { next, words }));
            }
            // One by one: the drop of a chain is not for the stack.
            while let Some(link) = next {
                std::hint::black_box(link.words[0]);
                next = link.next;
            }
        }
    }
}

struct Big {
    children: Option<[Box<Big>; 2]>,
    _words: [u64; 6],
}

impl Big {
    fn build(depth: u32) -> Box<Self> {
        let children = (depth > 0).then(|| [Self::build(depth - 1), Self::build(depth - 1)]);
        Box::new(Self { children, _words: [depth.into(); 6] })
    }
}

impl Live for Boxes {
    /// Each mutator has its half.
    type Tree = [Mutex<Box<Big>>; 2];

    fn grow(&self, height: u32) -> Self::Tree {
        [(); 2].map(|()| Mutex::new(Big::build(height - 1 + SUBTREE)))
    }

    fn replace(&self, tree: &Self::Tree, height: u32, path: u64) {
        let mut half = tree[(path & 1) as usize].lock().expect("no mutator panics");
        let mut at = &mut *half;
        for level in 1..height {
            let children = at.children.as_mut().expect("an inner node has both children");
            at = &mut children[(path >> level & 1) as usize];
        }
        *at = Big::build(SUBTREE);
    }

    fn collect(&self) -> bool {
        false
    }

    fn collections(&self) -> Option<u64> {
        None
    }
}

/// A cache of values with reference counts.
struct Counted(Vec<Mutex<Weak<[u64; WORDS]>>>);

impl Counted {
    fn new() -> Self {
        Self((0..PAGES).map(|_| Mutex::default()).collect())
    }
}

impl Mutators for Counted {
    fn mutate(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        bench_gc::on_threads(count, work);
    }
}

impl Cache for Counted {
    type Recent = Vec<Option<Arc<[u64; WORDS]>>>;

    fn recent(&self) -> Self::Recent {
        vec![None; RECENT]
    }

    fn look_up(&self, key: usize, recent: &mut Self::Recent, place: usize) -> bool {
        let mut slot = self.0[key].lock().expect("nobody panics here");
        let found = slot.upgrade();
        let was_there = found.is_some();
        let page = found.unwrap_or_else(|| {
            let mut words = [0; WORDS];
            words[0] = key as u64;
            let page = Arc::new(words);
            *slot = Arc::downgrade(&page);
            page
        });
        drop(slot);
        assert_eq!(page[0], key as u64);
        recent[place] = Some(page);
        was_there
    }
}
