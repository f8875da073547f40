//! Random graphs, changed by several threads beside the collector, against a plain search.
//!
//! In rounds. First threads change one graph by every kind of edge there is: cells, slices, immutable
//! fields, mutexes, reader-writer locks, onces, weak pointers, roots. Freed memory is poisoned,
//! checkmark is on, and whoever meets a node asks whether it is alive by a table outside of the heap.
//! Then all is quiet, and a search from the roots, through the same public face, says who is reachable.
//! After one collection the living must be just these; weak pointers must lead to them, and to nobody
//! else; and the cleanup queue must have told of all others.
//!
//! Rounds differ in who runs while the collector marks, and in what stores log.
//!
//! A run that does not go on says who waits for what. How a run ends that has gone wrong is a promise too:
//! `GC_STRESS_PLANT` has something go wrong ([`plan::Plant`]), and each is tried (`oracle/planted.rs`).
//!
//! A second by default; `GC_STRESS_SECONDS` and `GC_STRESS_SEED` say otherwise.

use gc_core::{
    CleanupQueue, Collector, Gc, GcCell, GcMutex, GcOnce, GcRwLock, Guard, Heap, Root, Slice, Str,
    Trace, Weak,
    pacer::{Every, Facts, Pacer, Target},
    policy::{Collection, WriteBarrier},
    space::blocks::Blocks,
    world::threads::Threads,
};
use std::{collections::BTreeSet, sync::Arc, thread, time::Instant};

#[path = "oracle/hands.rs"]
mod hands;
#[path = "oracle/plan.rs"]
mod plan;
#[path = "oracle/planted.rs"]
mod planted;
#[path = "oracle/register.rs"]
mod register;
#[path = "oracle/watch.rs"]
mod watch;

use hands::{Hands, Random};
use plan::{Plan, Plant, say};
use register::{ALIVE, DEAD, Life, NODES, Register, agree};

gc_core::tag! { struct Oracle; }

const THREADS: usize = 3;
const ROOTS: usize = 24;
/// Operations of a thread in a round.
const OPERATIONS: usize = 4_000;
const SEAL: u64 = 0x5eed_5eed_5eed_5eed;

type Link<'g> = Gc<'g, Node<'g>, Oracle>;
type Edge<'g> = GcCell<'g, Node<'g>, Oracle>;
type Listed<'g> = Gc<'g, Slice<Edge<'g>>, Oracle>;

#[derive(Trace)]
#[trace(heap = Oracle)]
struct Node<'g> {
    seal: u64,
    #[leaf]
    life: Life,
    first: Option<Link<'g>>,
    name: Gc<'g, Str, Oracle>,
    next: Edge<'g>,
    list: GcCell<'g, Slice<Edge<'g>>, Oracle>,
    locked: GcMutex<Vec<Link<'g>>, Oracle>,
    shared: GcRwLock<[Option<Link<'g>>; 2], Oracle>,
    once: GcOnce<Link<'g>, Oracle>,
    weak: GcCell<'g, Known<'g>, Oracle>,
    tail: u64,
}

/// A weak pointer, and whom it is about.
#[derive(Trace)]
#[trace(heap = Oracle)]
struct Known<'g> {
    number: u64,
    node: Gc<'g, Weak<'g, Node<'g>, Oracle>, Oracle>,
}

impl<'g> Known<'g> {
    fn upgrade(&self, guard: &'g Guard<'_, Oracle>) -> Option<Link<'g>> {
        let found = self.node.get().upgrade(guard)?;
        found.check();
        found.next.load().inspect(|next| next.check());
        assert_eq!(found.life.number as u64, self.number, "a weak pointer leads to another node");
        Some(found)
    }
}

impl Node<'_> {
    fn check(&self) {
        assert_eq!((self.seal, self.tail), (SEAL, !SEAL), "a freed node was seen");
        let number = self.life.number;
        assert!(self.life.register.is_alive(number), "node {number} is dropped, and was seen");
        assert_eq!(self.name.as_str(), format!("node {number}"), "its name is gone");
    }
}

struct World {
    plan: Plan,
    /// The round, from 1.
    round: u64,
    heap: Heap<Oracle>,
    /// The threads of a round, and after them the one who compares.
    watch: Arc<watch::Watch>,
    register: Arc<Register>,
    deaths: CleanupQueue<usize, Oracle>,
    told: BTreeSet<usize>,
    /// A table that everybody shares, and roots that somebody has.
    table: Option<Root<Slice<Edge<'static>>, Oracle>>,
    /// A table of weak pointers, most of them to nodes that nothing else leads to.
    cache: Option<Root<Slice<GcCell<'static, Known<'static>, Oracle>>, Oracle>>,
    roots: Vec<Root<Node<'static>, Oracle>>,
}

impl World {
    fn new(plan: Plan) -> Self {
        let heap: Heap<Oracle> = Heap::builder()
            .pacer(Every(128 << 10))
            .slice(8)
            .checkmark(true)
            .build(Blocks::poisoned(), Threads::new())
            .unwrap();
        let deaths = CleanupQueue::new(&heap);
        let (table, cache) = {
            let guard = heap.enter();
            let table = guard.alloc_slice((0..ROOTS).map(|_| GcCell::<Node<'_>, Oracle>::null()));
            let cache = guard.alloc_slice((0..ROOTS).map(|_| GcCell::<Known<'_>, Oracle>::null()));
            (Some(guard.root(table)), Some(guard.root(cache)))
        };
        let (register, told, roots) = (Register::new(), BTreeSet::new(), Vec::new());
        let watch = watch::Watch::new(THREADS + 1);
        Self { plan, round: 0, heap, watch, register, deaths, told, table, cache, roots }
    }

    /// Whether this is to go wrong now.
    fn has(&self, plant: Plant) -> bool {
        self.round == Plan::ROUNDS && self.plan.plant == Some(plant)
    }

    fn stay(&self, thread: usize) -> ! {
        let _guard = self.heap.enter();
        self.watch.note(thread, "is planted");
        self.watch.hurry();
        loop {
            thread::park();
        }
    }

    /// What one thread does in a round; the roots it leaves behind.
    fn work(&self, thread: usize, random: &mut Random) -> Vec<Root<Node<'static>, Oracle>> {
        let mut kept: Vec<Root<Node<'static>, Oracle>> = Vec::new();
        let mut done = 0;
        if thread == 0 && self.has(Plant::Stays) {
            self.stay(thread);
        }
        while done < OPERATIONS {
            // Cycles follow each other without a break.
            self.heap.request();
            self.watch.note(thread, "enters a guard");
            let guard = self.heap.enter();
            let roots = self.roots.iter().chain(&kept);
            let hand = roots.take(4).map(|root| root.get(&guard)).collect();
            let steps = 1 + random.below(40);
            let mut hands = Hands { world: self, thread, guard: &guard, random, hand };
            (0..steps).for_each(|_| hands.step());
            done += steps;
            if let Some(node) = hands.pick() {
                kept.push(guard.root(node));
            }
            if kept.len() > 3 {
                kept.swap_remove(random.below(3));
            }
            if let Some(copy) = kept.last().cloned() {
                kept[0] = copy;
            }
        }
        self.watch.note(thread, "is done");
        kept
    }

    fn round(&mut self, seed: u64) {
        // Every policy has its turns.
        let policy = Random(seed | 1).below(6);
        let hybrid =
            if policy.is_multiple_of(2) { WriteBarrier::Hybrid } else { WriteBarrier::Deletion };
        let stops = if policy < 2 { Collection::StopTheWorld } else { Collection::Concurrent };
        self.heap.set_write_barrier(hybrid);
        self.heap.set_collection(stops);
        let collector = Collector::start(&self.heap).unwrap();
        if self.has(Plant::Collector) {
            self.heap.set_pacer(Panics);
        }
        if self.has(Plant::Buried) {
            let node = self.roots[0].get(&self.heap.enter()).life.number;
            assert!(self.register.bury(node), "it lives");
        }
        let world = &*self;
        let left: Vec<_> = thread::scope(|scope| {
            let random = |n| Random(seed.wrapping_mul(2 * n as u64 + 1) | 1);
            let work = |n| move || world.work(n, &mut random(n));
            let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(work(n))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        self.roots.extend(left);
        self.roots.drain(..self.roots.len().saturating_sub(6));
        self.watch.note(THREADS, "joins the collector");
        drop(collector);
    }

    /// The plain search: numbers of the nodes that are reachable, and of those that are known weakly
    /// by one of them, with whether that still leads to somebody.
    fn search(&self) -> (BTreeSet<usize>, Vec<(usize, bool)>) {
        let guard = self.heap.enter();
        let mut todo: Vec<Link<'_>> = self.roots.iter().map(|root| root.get(&guard)).collect();
        let table = self.table.iter().flat_map(|table| table.get(&guard).as_slice());
        todo.extend(table.filter_map(GcCell::load));
        let cache = self.cache.iter().flat_map(|cache| cache.get(&guard).as_slice());
        let mut known: Vec<_> = cache.filter_map(GcCell::load).collect();
        let mut seen = BTreeSet::new();
        while let Some(node) = todo.pop() {
            node.check();
            if !seen.insert(node.life.number) {
                continue;
            }
            let node = node.get();
            todo.extend(node.first.iter().chain(node.once.get()).copied());
            todo.extend(node.next.load());
            todo.extend(node.locked.lock(&guard).iter().copied());
            todo.extend(node.shared.read(&guard).iter().flatten().copied());
            let list = node.list.load();
            todo.extend(list.iter().flat_map(|list| list.as_slice()).filter_map(GcCell::load));
            known.extend(node.weak.load());
        }
        let leads = |known: &Known<'_>| known.number as usize;
        let weak = known.iter().map(|known| (leads(known), known.upgrade(&guard).is_some()));
        (seen, weak.collect())
    }

    /// Everything is quiet: collects, and compares.
    fn compare(&mut self) {
        self.watch.note(THREADS, "searches");
        let (mut reachable, _) = self.search();
        if self.has(Plant::Overlooked) {
            reachable.pop_last();
        }
        if self.has(Plant::DiesTwice) {
            let guard = self.heap.enter();
            let (random, hand) = (&mut Random(1), Vec::new());
            let node = Hands { world: self, thread: THREADS, guard: &guard, random, hand }.make();
            assert!(self.register.bury(node.life.number), "it lives");
        }
        self.watch.note(THREADS, "collects");
        self.heap.collect().expect("the collector has not panicked");
        self.watch.note(THREADS, "runs destructors");
        self.heap.run_destructors(usize::MAX);
        self.watch.note(THREADS, "compares");
        assert_eq!(self.heap.stats().panics, 0, "no destructor has panicked");
        let alive = self.register.those(ALIVE);
        agree("who lives is who is reachable", &alive, &reachable);
        let (after, weak) = self.search();
        agree("a collection changes no edge", &after, &reachable);
        for (number, found) in weak {
            assert_eq!(found, alive.contains(&number), "a weak pointer to node {number}");
        }
        while let Some(number) = self.deaths.try_take() {
            assert!(self.told.insert(number), "the death of node {number} was told twice");
        }
        if self.has(Plant::Untold) {
            self.told.pop_first();
        }
        agree("who was told of is dead", &self.told, &self.register.those(DEAD));
    }
}

/// The collector's end.
struct Panics;

impl Pacer for Panics {
    fn first(&self) -> Target {
        Every(128 << 10).first()
    }

    fn next(&mut self, _: Facts) -> Target {
        panic!("the collector is planted")
    }
}

#[test]
fn who_lives_is_who_is_reachable() {
    let plan = Plan::read();
    say(format_args!("GC_STRESS_SEED={}", plan.seed));
    let mut world = World::new(plan);
    let watching = world.watch.begin(plan.seed, &world.heap);
    let begin = Instant::now();
    while world.round < Plan::ROUNDS
        || (begin.elapsed() < plan.time && world.register.born() < NODES / 2)
    {
        world.round += 1;
        world.watch.note(THREADS, "waits for the threads of a round");
        world.round(plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(world.round));
        world.compare();
    }
    let (rounds, born) = (world.round, world.register.born());
    eprintln!("{rounds} rounds, {born} nodes, {} cycles", world.heap.stats().cycles);
    world.roots.clear();
    (world.table, world.cache) = (None, None);
    world.compare();
    world.heap.collect().unwrap();
    let left = world.heap.usage();
    assert_eq!((left.spans, left.doomed), (0, 0), "nothing is left");
    watching.agreed();
}
