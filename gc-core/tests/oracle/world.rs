//! What is changed, and what it is compared with: a heap with roots, and a register of who lives.
//!
//! The root of the tests makes the heap, and says how a round's threads are run.

use crate::{
    Oracle, THREADS,
    graph::{Edge, Known, Link, Node},
    hands::{Hands, Random},
    plan::{Plan, Plant, say},
    register::{ALIVE, DEAD, Register, agree},
    watch,
};
use gc_core::{CleanupQueue, GcCell, Heap, Root, Slice};
use std::{collections::BTreeSet, sync::Arc, thread, time::Instant};

/// Slots of each table. With fewer a cycle marks so little that hardly anything changes meanwhile.
pub(crate) const ROOTS: usize = 160;
/// Operations of a thread in a round.
const OPERATIONS: usize = 4_000;

/// A heap, and what is known of it outside.
pub(crate) struct World {
    pub(crate) plan: Plan,
    /// The round, from 1.
    pub(crate) round: u64,
    pub(crate) heap: Heap<Oracle>,
    /// The threads of a round, and after them the one who compares.
    pub(crate) watch: Arc<watch::Watch>,
    pub(crate) register: Arc<Register>,
    pub(crate) deaths: CleanupQueue<usize, Oracle>,
    /// Who has died since the last comparison, as the queue tells.
    told: BTreeSet<usize>,
    /// A table that everybody shares, and roots that somebody has.
    pub(crate) table: Option<Root<Slice<Edge<'static>>, Oracle>>,
    /// A table of weak pointers, most of them to nodes that nothing else leads to.
    pub(crate) cache: Option<Root<Slice<GcCell<'static, Known<'static>, Oracle>>, Oracle>>,
    pub(crate) roots: Vec<Root<Node<'static>, Oracle>>,
}

impl World {
    pub(crate) fn new(plan: Plan, heap: Heap<Oracle>) -> Self {
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
    pub(crate) fn has(&self, plant: Plant) -> bool {
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
    pub(crate) fn work(
        &self,
        thread: usize,
        random: &mut Random,
    ) -> Vec<Root<Node<'static>, Oracle>> {
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

    /// Roots that a round has left behind take the place of older ones.
    pub(crate) fn keep(&mut self, left: Vec<Root<Node<'static>, Oracle>>) {
        self.roots.extend(left);
        self.roots.drain(..self.roots.len().saturating_sub(6));
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
    pub(crate) fn compare(&mut self) {
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
        self.told.clear();
        self.register.settle(alive);
    }

    /// Rounds until the time is over; then nothing is rooted any more, and all must die.
    pub(crate) fn run(&mut self, mut round: impl FnMut(&mut Self, u64)) {
        let (plan, begin) = (self.plan, Instant::now());
        while self.round < Plan::ROUNDS || begin.elapsed() < plan.time {
            self.round += 1;
            self.watch.note(THREADS, "waits for the threads of a round");
            round(self, plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(self.round));
            self.compare();
        }
        let (rounds, born, time) = (self.round, self.register.born(), begin.elapsed());
        let cycles = self.heap.stats().cycles;
        say(format_args!("{rounds} rounds in {time:.0?}, {born} nodes, {cycles} cycles"));
        self.roots.clear();
        (self.table, self.cache) = (None, None);
        self.compare();
        self.heap.collect().expect("the collector has not panicked");
    }
}
