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
//! A run that does not go on says who waits for what.
//!
//! A second by default; `GC_STRESS_SECONDS` and `GC_STRESS_SEED` say otherwise.

use gc_core::{
    CleanupQueue, Collector, Gc, GcCell, GcMutex, GcOnce, GcRwLock, Guard, Heap, Root, Slice, Str,
    Trace, Weak,
    pacer::Every,
    policy::{Collection, WriteBarrier},
    space::blocks::Blocks,
    world::threads::Threads,
};
use std::{
    collections::BTreeSet,
    env,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

#[path = "oracle/watch.rs"]
mod watch;

gc_core::tag! { struct Oracle; }

const THREADS: usize = 3;
const ROOTS: usize = 24;
/// Operations of a thread in a round.
const OPERATIONS: usize = 4_000;
/// Nodes that a run may make.
const NODES: usize = 1 << 22;
const SEAL: u64 = 0x5eed_5eed_5eed_5eed;

const UNBORN: u8 = 0;
const ALIVE: u8 = 1;
const DEAD: u8 = 2;

/// Who lives, by number, outside of the heap.
struct Register {
    states: Box<[AtomicU8]>,
    born: AtomicUsize,
}

impl Register {
    fn new() -> Arc<Self> {
        let states = (0..NODES).map(|_| AtomicU8::new(UNBORN)).collect();
        Arc::new(Self { states, born: AtomicUsize::new(0) })
    }

    fn birth(self: &Arc<Self>) -> Life {
        let number = self.born.fetch_add(1, Ordering::Relaxed);
        assert_eq!(self.states[number].swap(ALIVE, Ordering::Relaxed), UNBORN);
        Life { number, register: self.clone() }
    }

    fn is_alive(&self, number: usize) -> bool {
        self.states[number].load(Ordering::Relaxed) == ALIVE
    }

    fn those(&self, state: u8) -> BTreeSet<usize> {
        let born = self.born.load(Ordering::Relaxed);
        (0..born).filter(|&n| self.states[n].load(Ordering::Relaxed) == state).collect()
    }
}

/// The life of a node: its destructor is the death.
struct Life {
    number: usize,
    register: Arc<Register>,
}

impl Drop for Life {
    fn drop(&mut self) {
        let former = self.register.states[self.number].swap(DEAD, Ordering::Relaxed);
        assert_eq!(former, ALIVE, "node {} died twice", self.number);
    }
}

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

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}

struct World {
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

/// What [`Hands::step`] does, by its number.
const STEPS: [&str; 17] = [
    "makes a node",
    "makes a node",
    "loads from the table",
    "swaps in the table",
    "takes from the table",
    "compares and exchanges in the table",
    "swaps a node's next",
    "sets a node's list",
    "swaps in a node's list",
    "locks a node's mutex",
    "writes under a node's lock",
    "reads under a node's lock",
    "makes or waits for a node's once",
    "sets a node's weak pointer",
    "upgrades a node's weak pointer",
    "reads an immutable edge",
    "looks up in the table of weak pointers",
];

/// One thread's hands during one guard.
struct Hands<'g, 'h> {
    world: &'g World,
    thread: usize,
    guard: &'g Guard<'h, Oracle>,
    random: &'g mut Random,
    hand: Vec<Link<'g>>,
}

impl<'g> Hands<'g, '_> {
    fn pick(&mut self) -> Option<Link<'g>> {
        if self.hand.is_empty() {
            return None;
        }
        let picked = self.hand[self.random.below(self.hand.len())];
        picked.check();
        Some(picked)
    }

    fn slot(&mut self) -> &'g Edge<'g> {
        let table = self.world.table.as_ref().expect("there is one until the end");
        &table.get(self.guard).as_slice()[self.random.below(ROOTS)]
    }

    fn make(&mut self) -> Link<'g> {
        let guard = self.guard;
        let life = self.world.register.birth();
        let number = life.number;
        let name = guard.alloc_str(&format!("node {number}"));
        let (first, next) = (self.pick(), GcCell::new(self.pick()));
        let locked = GcMutex::new(self.pick().into_iter().collect());
        let node = guard.alloc(Node {
            seal: SEAL,
            life,
            first,
            name,
            next,
            list: GcCell::null(),
            locked,
            shared: GcRwLock::default(),
            once: GcOnce::new(),
            weak: GcCell::null(),
            tail: !SEAL,
        });
        self.world.deaths.register(guard, node, number);
        node
    }

    fn list(&mut self) -> Listed<'g> {
        let long = self.random.below(50) == 0;
        let length = self.random.below(if long { 2_000 } else { 5 });
        let items: Vec<Edge<'g>> = (0..length).map(|_| GcCell::new(self.pick())).collect();
        self.guard.alloc_slice(items)
    }

    fn know(&mut self, target: Link<'g>) -> Gc<'g, Known<'g>, Oracle> {
        let (guard, number) = (self.guard, target.life.number as u64);
        guard.alloc(Known { number, node: guard.downgrade(target) })
    }

    /// Looks a node up in the table of weak pointers, and makes one if it is dead.
    fn look_up(&mut self) -> Link<'g> {
        let guard = self.guard;
        let cache = self.world.cache.as_ref().expect("there is one until the end");
        let slot = &cache.get(guard).as_slice()[self.random.below(ROOTS)];
        let known = slot.load();
        let found = known.and_then(|known| known.upgrade(guard));
        found.unwrap_or_else(|| {
            let node = self.make();
            node.next.set(guard, Some(self.make()));
            slot.set(guard, Some(self.know(node)));
            node
        })
    }

    fn step(&mut self) {
        let (guard, picked) = (self.guard, self.pick());
        let step = self.random.below(24);
        self.world.watch.note(self.thread, STEPS[step.min(STEPS.len() - 1)]);
        let found = match (step, picked) {
            (0 | 1, _) => Some(self.make()),
            (2, _) => self.slot().load(),
            (3, _) => self.slot().swap(guard, picked),
            (4, _) => self.slot().take(guard),
            (5, _) => {
                let (slot, new) = (self.slot(), self.pick());
                slot.compare_exchange(guard, slot.load(), new).unwrap_or_else(|found| found)
            }
            (6, Some(node)) => {
                let new = self.pick();
                node.get().next.swap(guard, new)
            }
            (7, Some(node)) => {
                node.list.set(guard, Some(self.list()));
                None
            }
            (8, Some(node)) => {
                let list = node.list.load().filter(|list| !list.is_empty());
                list.and_then(|list| {
                    let edge = &list.as_slice()[self.random.below(list.len())];
                    edge.swap(guard, self.pick())
                })
            }
            (9, Some(node)) => {
                let new = self.pick();
                let mut locked = node.get().locked.lock(guard);
                locked.extend(new);
                let index = self.random.below(locked.len().max(1));
                if index < locked.len() { Some(locked.swap_remove(index)) } else { None }
            }
            (10, Some(node)) => {
                let new = self.pick();
                let place = self.random.below(2);
                std::mem::replace(&mut node.get().shared.write(guard)[place], new)
            }
            (11, Some(node)) => node.get().shared.read(guard)[self.random.below(2)],
            (12, Some(node)) => Some(*node.get().once.get_or_init(guard, || self.make())),
            (13, Some(node)) => {
                let target = self.pick();
                node.weak.set(guard, target.map(|target| self.know(target)));
                None
            }
            (14, Some(node)) => node.weak.load().and_then(|known| known.upgrade(guard)),
            (15, Some(node)) => node.first,
            (16.., _) => {
                let node = self.look_up();
                if self.random.below(4) == 0 { Some(node) } else { None }
            }
            _ => None,
        };
        if let Some(found) = found {
            found.check();
            self.hand.push(found);
        }
        if self.hand.len() > 12 {
            self.hand.swap_remove(self.random.below(12));
        }
    }
}

impl World {
    fn new() -> Self {
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
        Self { heap, watch, register, deaths, told, table, cache, roots }
    }

    /// What one thread does in a round; the roots it leaves behind.
    fn work(&self, thread: usize, random: &mut Random) -> Vec<Root<Node<'static>, Oracle>> {
        let mut kept: Vec<Root<Node<'static>, Oracle>> = Vec::new();
        let mut done = 0;
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
        let (reachable, _) = self.search();
        self.watch.note(THREADS, "collects");
        self.heap.collect().unwrap();
        self.watch.note(THREADS, "runs destructors");
        self.heap.run_destructors(usize::MAX);
        self.watch.note(THREADS, "compares");
        let alive = self.register.those(ALIVE);
        assert_eq!(alive, reachable, "who lives is who is reachable");
        let (after, weak) = self.search();
        assert_eq!(after, reachable, "a collection changes no edge");
        for (number, found) in weak {
            assert_eq!(found, alive.contains(&number), "a weak pointer to node {number}");
        }
        while let Some(number) = self.deaths.try_take() {
            assert!(self.told.insert(number), "the death of node {number} was told twice");
        }
        assert_eq!(self.told, self.register.those(DEAD), "the dead are those that were told of");
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
}

#[test]
fn who_lives_is_who_is_reachable() {
    let time = Duration::from_secs(number("GC_STRESS_SECONDS").unwrap_or(1));
    let seed = number("GC_STRESS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("GC_STRESS_SEED={seed}");
    let mut world = World::new();
    let watching = world.watch.begin(format!("GC_STRESS_SEED={seed}"), &world.heap);
    let begin = Instant::now();
    let mut rounds = 0;
    while begin.elapsed() < time && world.register.born.load(Ordering::Relaxed) < NODES / 2 {
        rounds += 1;
        world.watch.note(THREADS, "waits for the threads of a round");
        world.round(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(rounds));
        world.compare();
    }
    let born = world.register.born.load(Ordering::Relaxed);
    eprintln!("{rounds} rounds, {born} nodes, {} cycles", world.heap.stats().cycles);
    world.roots.clear();
    (world.table, world.cache) = (None, None);
    world.compare();
    world.heap.collect().unwrap();
    drop(watching);
    let left = world.heap.usage();
    assert_eq!((left.spans, left.doomed), (0, 0), "nothing is left");
}
