//! gc-arena: incremental, one thread; it collects between two calls of `mutate`, as much as was
//! allocated in the last one calls for.

use std::cell::RefCell;

use bench_gc::Mutators;
use bench_gc::batches::{Batches, CHAIN};
use bench_gc::live::{Live, SUBTREE};
use bench_gc::random;
use bench_gc::trees::Trees;
use gc_arena::lock::Lock;
use gc_arena::{Arena, Collect, Gc, Mutation, Rootable};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let request = harness::Request::from_args("gc-arena");
    let heap = Heap;
    let known = request.row != "binary-trees-21" && bench_gc::trees::run(&request, &heap)
        || bench_gc::batches::run(&request, &heap)
        || bench_gc::live::run(&request, &heap);
    if !known {
        request.unknown();
    }
}

type Root = Arena<Rootable![Kept<'_>]>;

#[derive(Collect)]
#[collect(no_drop)]
struct Kept<'gc> {
    tree: Option<Gc<'gc, Tree<'gc>>>,
    live: Option<Gc<'gc, Big<'gc>>>,
}

thread_local! {
    /// One arena: what it holds is of one thread.
    static ARENA: RefCell<Root> = RefCell::new(Arena::new(|_| Kept { tree: None, live: None }));
}

struct Heap;

impl Heap {
    /// Runs `work` in the arena, and lets it collect.
    fn mutate<R>(work: impl for<'gc> FnOnce(&Mutation<'gc>) -> R) -> R {
        ARENA.with_borrow_mut(|arena| {
            let result = arena.mutate(|gc, _| work(gc));
            arena.collect_debt();
            result
        })
    }
}

impl Mutators for Heap {
    /// An arena has one mutator: one after the other.
    fn mutate(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(work);
    }
}

#[derive(Collect)]
#[collect(no_drop)]
struct Tree<'gc> {
    children: Option<(Gc<'gc, Tree<'gc>>, Gc<'gc, Tree<'gc>>)>,
}

impl<'gc> Tree<'gc> {
    fn build(gc: &Mutation<'gc>, depth: u32) -> Gc<'gc, Self> {
        let child = || Self::build(gc, depth - 1);
        Gc::new(gc, Self { children: (depth > 0).then(|| (child(), child())) })
    }

    fn count(&self) -> usize {
        self.children.map_or(1, |(left, right)| left.count() + right.count() + 1)
    }
}

impl Trees for Heap {
    /// It is the arena's root.
    type Kept = ();

    fn build_and_count(&self, depth: u32) -> usize {
        Self::mutate(|gc| Tree::build(gc, depth).count())
    }

    fn keep(&self, depth: u32) {
        ARENA.with_borrow_mut(|arena| {
            arena.mutate_root(|gc, root| root.tree = Some(Tree::build(gc, depth)));
        });
    }

    fn count(&self, _: &()) -> usize {
        let count = |root: &Kept<'_>| root.tree.expect("a tree is kept").count();
        ARENA.with_borrow(|arena| arena.mutate(|_, root| count(root)))
    }
}

#[derive(Collect)]
#[collect(no_drop)]
struct Big<'gc> {
    children: [Lock<Option<Gc<'gc, Big<'gc>>>>; 2],
    words: [u64; 6],
}

impl<'gc> Big<'gc> {
    fn build(gc: &Mutation<'gc>, depth: u32) -> Gc<'gc, Self> {
        let child = || Lock::new((depth > 0).then(|| Self::build(gc, depth - 1)));
        Gc::new(gc, Self { children: [child(), child()], words: [depth.into(); 6] })
    }
}

impl Live for Heap {
    /// It is the arena's.
    type Tree = ();

    fn grow(&self, height: u32) {
        ARENA.with_borrow_mut(|arena| {
            arena.mutate_root(|gc, root| root.live = Some(Big::build(gc, height + SUBTREE)));
            // The debt of so many nodes is not the first operation's.
            arena.finish_cycle();
        });
    }

    fn replace(&self, _: &(), height: u32, path: u64) {
        ARENA.with_borrow_mut(|arena| {
            arena.mutate(|gc, root| {
                let mut at = root.live.expect("a tree lives");
                for level in 0..height - 1 {
                    let child = at.children[(path >> level & 1) as usize].get();
                    at = child.expect("an inner node has both children");
                }
                let children = gc_arena::barrier::field!(Gc::write(gc, at), Big, children);
                let place = children[(path >> (height - 1) & 1) as usize].unlock();
                place.set(Some(Big::build(gc, SUBTREE)));
            });
            arena.collect_debt();
        });
    }

    fn collect(&self) -> bool {
        ARENA.with_borrow_mut(Arena::finish_cycle);
        true
    }

    fn collections(&self) -> Option<u64> {
        None
    }
}

#[derive(Collect)]
#[collect(no_drop)]
struct Item<'gc> {
    number: u64,
    before: Lock<Option<Gc<'gc, Item<'gc>>>>,
    after: Lock<Option<Gc<'gc, Item<'gc>>>>,
}

#[derive(Collect)]
#[collect(no_drop)]
struct Node<'gc> {
    number: u64,
    edges: [Lock<Option<Gc<'gc, Node<'gc>>>>; 2],
}

#[derive(Collect)]
#[collect(no_drop)]
struct Link<'gc, const WORDS: usize> {
    next: Option<Gc<'gc, Link<'gc, WORDS>>>,
    words: [u64; WORDS],
}

impl Batches for Heap {
    fn list(&self, nodes: usize) -> u64 {
        Self::mutate(|gc| {
            let item = |number, before| {
                Gc::new(gc, Item { number, before: Lock::new(before), after: Lock::new(None) })
            };
            let first = item(0, None);
            let mut last = first;
            for number in 1..nodes as u64 {
                let next = item(number, Some(last));
                // The barrier, then the store to one field.
                gc_arena::barrier::unlock!(Gc::write(gc, last), Item, after).set(Some(next));
                last = next;
            }
            let (mut sum, mut at) = (0, Some(first));
            while let Some(item) = at {
                sum += item.number;
                at = item.after.get();
            }
            at = Some(last);
            while let Some(item) = at {
                sum += item.number;
                at = item.before.get();
            }
            sum
        })
    }

    fn graph(&self, nodes: usize, mut seed: u64) -> u64 {
        Self::mutate(|gc| {
            let node =
                |number| Gc::new(gc, Node { number, edges: [Lock::new(None), Lock::new(None)] });
            let all: Vec<Gc<'_, Node<'_>>> = (0..nodes as u64).map(node).collect();
            for &node in &all {
                let edges = gc_arena::barrier::field!(Gc::write(gc, node), Node, edges);
                for edge in 0..2 {
                    edges[edge].unlock().set(Some(all[random(&mut seed) as usize % nodes]));
                }
            }
            let (mut at, mut sum) = (all[0], 0);
            for step in 0..nodes {
                at = at.edges[step % 2].get().expect("every node has both edges");
                sum += at.number;
            }
            sum
        })
    }

    fn chains<const WORDS: usize>(&self, chains: usize) {
        for _ in 0..chains {
            Self::mutate(|gc| {
                let mut next = None;
                for number in 0..CHAIN as u64 {
                    let mut words = [0; WORDS];
                    words[0] = number;
                    next = Some(Gc::new(gc, Link { next, words }));
                }
                std::hint::black_box(next.map(|link| link.words[0]));
            });
        }
    }
}
