//! What a thread does to the graph while it holds a guard.

use crate::{
    Oracle,
    graph::{Edge, Known, Link, Listed, Node, SEAL},
    world::{ROOTS, World},
};
use gc_core::{Gc, GcCell, GcMutex, GcOnce, GcRwLock, Guard};

/// Random numbers, the same for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
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
pub(crate) struct Hands<'g, 'h> {
    pub(crate) world: &'g World,
    pub(crate) thread: usize,
    pub(crate) guard: &'g Guard<'h, Oracle>,
    pub(crate) random: &'g mut Random,
    pub(crate) hand: Vec<Link<'g>>,
}

impl<'g> Hands<'g, '_> {
    pub(crate) fn pick(&mut self) -> Option<Link<'g>> {
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

    pub(crate) fn make(&mut self) -> Link<'g> {
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

    pub(crate) fn step(&mut self) {
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
