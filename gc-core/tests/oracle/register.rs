//! Who lives, by number, outside of the heap: what the heap is compared with.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
};

/// States that are made at once, and how often: more than any run has nodes.
const PIECE: usize = 1 << 20;
const PIECES: usize = 1 << 12;

const UNBORN: u8 = 0;
pub(crate) const ALIVE: u8 = 1;
pub(crate) const DEAD: u8 = 2;

/// A state for each node. It grows as nodes are born, and looks at none again that was known to be dead.
pub(crate) struct Register {
    pieces: Box<[OnceLock<Box<[AtomicU8]>>]>,
    born: AtomicUsize,
    settled: Mutex<Settled>,
}

/// What was known at the last comparison: of the nodes below `end`, these were alive.
#[derive(Default)]
struct Settled {
    end: usize,
    alive: BTreeSet<usize>,
}

impl Register {
    pub(crate) fn new() -> Arc<Self> {
        let pieces = (0..PIECES).map(|_| OnceLock::new()).collect();
        Arc::new(Self { pieces, born: AtomicUsize::new(0), settled: Mutex::default() })
    }

    fn state(&self, number: usize) -> &AtomicU8 {
        let make = || (0..PIECE).map(|_| AtomicU8::new(UNBORN)).collect();
        &self.pieces[number / PIECE].get_or_init(make)[number % PIECE]
    }

    pub(crate) fn birth(self: &Arc<Self>) -> Life {
        let number = self.born.fetch_add(1, Ordering::Relaxed);
        assert_eq!(self.state(number).swap(ALIVE, Ordering::Relaxed), UNBORN);
        Life { number, register: self.clone() }
    }

    /// How many there have been.
    pub(crate) fn born(&self) -> usize {
        self.born.load(Ordering::Relaxed)
    }

    pub(crate) fn is_alive(&self, number: usize) -> bool {
        self.state(number).load(Ordering::Relaxed) == ALIVE
    }

    /// Who is in this state and was not known to be dead.
    pub(crate) fn those(&self, state: u8) -> BTreeSet<usize> {
        let is = |number: &usize| self.state(*number).load(Ordering::Relaxed) == state;
        let settled = self.settled.lock().unwrap();
        settled.alive.iter().copied().chain(settled.end..self.born()).filter(is).collect()
    }

    /// All others are dead for good.
    pub(crate) fn settle(&self, alive: BTreeSet<usize>) {
        *self.settled.lock().unwrap() = Settled { end: self.born(), alive };
    }

    /// Says of a node that it is dead; true if it lived.
    pub(crate) fn bury(&self, number: usize) -> bool {
        self.state(number).swap(DEAD, Ordering::Relaxed) == ALIVE
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
