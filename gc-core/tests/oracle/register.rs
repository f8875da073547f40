//! Who lives, by number, outside of the heap: what the heap is compared with.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
};

/// Nodes that a run may make.
pub(crate) const NODES: usize = 1 << 22;

const UNBORN: u8 = 0;
pub(crate) const ALIVE: u8 = 1;
pub(crate) const DEAD: u8 = 2;

/// A state for each node.
pub(crate) struct Register {
    states: Box<[AtomicU8]>,
    born: AtomicUsize,
}

impl Register {
    pub(crate) fn new() -> Arc<Self> {
        let states = (0..NODES).map(|_| AtomicU8::new(UNBORN)).collect();
        Arc::new(Self { states, born: AtomicUsize::new(0) })
    }

    pub(crate) fn birth(self: &Arc<Self>) -> Life {
        let number = self.born.fetch_add(1, Ordering::Relaxed);
        assert_eq!(self.states[number].swap(ALIVE, Ordering::Relaxed), UNBORN);
        Life { number, register: self.clone() }
    }

    /// How many there have been.
    pub(crate) fn born(&self) -> usize {
        self.born.load(Ordering::Relaxed)
    }

    pub(crate) fn is_alive(&self, number: usize) -> bool {
        self.states[number].load(Ordering::Relaxed) == ALIVE
    }

    pub(crate) fn those(&self, state: u8) -> BTreeSet<usize> {
        let is = |&number: &usize| self.states[number].load(Ordering::Relaxed) == state;
        (0..self.born()).filter(is).collect()
    }

    /// Says of a node that it is dead; true if it lived.
    pub(crate) fn bury(&self, number: usize) -> bool {
        self.states[number].swap(DEAD, Ordering::Relaxed) == ALIVE
    }
}

/// The life of a node: its destructor is the death.
pub(crate) struct Life {
    pub(crate) number: usize,
    pub(crate) register: Arc<Register>,
}

impl Drop for Life {
    fn drop(&mut self) {
        assert!(self.register.bury(self.number), "node {} died twice", self.number);
    }
}

/// Two sets of nodes that must be one.
#[track_caller]
pub(crate) fn agree(what: &str, heap: &BTreeSet<usize>, oracle: &BTreeSet<usize>) {
    let few = |these: &BTreeSet<usize>, those: &BTreeSet<usize>| -> Vec<usize> {
        these.difference(those).take(8).copied().collect()
    };
    let (more, less) = (few(heap, oracle), few(oracle, heap));
    assert!(
        more.is_empty() && less.is_empty(),
        "{what}: {more:?} by the heap alone, {less:?} by the oracle alone, of {}",
        oracle.len(),
    );
}
