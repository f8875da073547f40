//! What there is.

use super::{Plan, Start};

pub(super) const CELLS: usize = 3;

/// A pointer: the number of a cell.
pub(super) type Link = Option<u8>;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Colour {
    Free,
    White,
    Marked,
}

/// A cell in a span of its own. `stamp` is the cycle in which it may be allocated from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Span {
    pub(super) colour: Colour,
    pub(super) edge: Link,
    pub(super) stamp: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Phase {
    Off,
    On,
    Mark,
}

/// The phase word as one operation reads it; `dirty` is beside it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Reading {
    pub(super) phase: Phase,
    pub(super) cycle: u8,
}

/// A place that holds a pointer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Place {
    Root,
    Edge(u8),
}

/// Where a mutator stands within an operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Doing {
    Nothing,
    /// A store that has read the phase and not yet exchanged.
    Storing {
        reading: Reading,
        place: Place,
        new: Link,
    },
    /// … that has exchanged and not yet logged.
    Logging {
        reading: Reading,
        old: Link,
    },
    /// An allocation for `hand` that has read the phase and has no cell.
    Taking {
        reading: Reading,
        hand: u8,
    },
    /// … whose cell has no colour.
    Colouring {
        reading: Reading,
        cell: u8,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Mutator {
    /// Parity of the epoch of its guard.
    pub(super) guard: Option<u8>,
    pub(super) hands: [Link; 2],
    pub(super) doing: Doing,
    /// The driver waits for the end of the operation.
    pub(super) seen: bool,
    /// Cells in its log, one bit each.
    pub(super) log: u8,
    /// Operations left.
    pub(super) left: u8,
}

impl Mutator {
    /// Makes alike what does not differ: which hand holds what, unless an allocation is for one, and a
    /// store that has nothing to log.
    pub(super) fn settle(&mut self) {
        if let Doing::Logging { reading: Reading { phase: Phase::Off, .. }, .. }
        | Doing::Logging { old: None, .. } = self.doing
        {
            self.doing = Doing::Nothing;
        }
        self.seen &= self.doing != Doing::Nothing;
        if !matches!(self.doing, Doing::Taking { .. }) {
            self.hands.sort_unstable();
        }
    }
}

/// Where the driver stands: the nine steps, each handshake split into flip and wait.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Driver {
    Prepare,
    Flip(Hand),
    Wait(Hand),
    Roots,
    Clear,
    Drain,
    /// After the third handshake.
    Last,
    Open,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Hand {
    One,
    Two,
    Three,
    Four,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct State {
    pub(super) spans: [Span; CELLS],
    pub(super) root: Link,
    pub(super) word: Reading,
    pub(super) dirty: bool,
    pub(super) epoch: u8,
    /// The space's own number of the cycle, and whether it may be swept.
    pub(super) opened: u8,
    pub(super) permitted: bool,
    /// Cells to be marked, and marked cells to be looked into.
    pub(super) grey: u8,
    pub(super) scan: u8,
    pub(super) driver: Driver,
    pub(super) cycles: u8,
    pub(super) mutators: [Mutator; 2],
}

impl State {
    pub(super) fn new(plan: Plan) -> Self {
        let span = |colour, edge| Span { colour, edge, stamp: 1 };
        let spans = match plan.start {
            Start::Pair => {
                [span(Colour::White, Some(1)), span(Colour::White, None), span(Colour::Free, None)]
            }
            Start::Chain => [
                span(Colour::White, Some(1)),
                span(Colour::White, Some(2)),
                span(Colour::White, None),
            ],
        };
        let mutator = |left| Mutator {
            guard: None,
            hands: [None; 2],
            doing: Doing::Nothing,
            seen: false,
            log: 0,
            left,
        };
        State {
            spans,
            root: Some(0),
            word: Reading { phase: Phase::Off, cycle: 1 },
            dirty: false,
            epoch: 0,
            opened: 1,
            permitted: true,
            grey: 0,
            scan: 0,
            driver: Driver::Prepare,
            cycles: plan.cycles,
            mutators: plan.operations.map(mutator),
        }
    }

    pub(super) fn span(&self, cell: u8) -> &Span {
        &self.spans[usize::from(cell)]
    }

    pub(super) fn span_mut(&mut self, cell: u8) -> &mut Span {
        &mut self.spans[usize::from(cell)]
    }

    pub(super) fn swap(&mut self, place: Place, new: Link) -> Link {
        let slot = match place {
            Place::Root => &mut self.root,
            Place::Edge(cell) => &mut self.span_mut(cell).edge,
        };
        std::mem::replace(slot, new)
    }

    /// The first span that sweep would take, by the rule for the cycle to come.
    pub(super) fn unswept(&self, sweeps_newer: bool) -> Option<u8> {
        let stale = |span: &Span| match sweeps_newer {
            true => span.stamp != self.opened,
            false => span.stamp < self.opened,
        };
        let used = |span: &&Span| span.colour != Colour::Free;
        let found = self.spans.iter().position(|span| used(&span) && stale(span));
        found.map(|cell| cell as u8)
    }

    pub(super) fn sweep(&mut self, cell: u8) {
        let opened = self.opened;
        let span = self.span_mut(cell);
        *span = match span.colour {
            Colour::Marked => Span { colour: Colour::White, stamp: opened, ..*span },
            _ => Span { colour: Colour::Free, edge: None, stamp: opened },
        };
    }

    /// Whether a root or a mutator's hand leads to a freed cell.
    pub(super) fn reaches_freed(&self) -> bool {
        let held = self.mutators.iter().flat_map(|mutator| {
            let doing = match mutator.doing {
                Doing::Storing { place: Place::Edge(cell), new, .. } => [Some(cell), new],
                Doing::Storing { new, .. } => [new, None],
                Doing::Colouring { cell, .. } => [Some(cell), None],
                _ => [None, None],
            };
            mutator.hands.into_iter().chain(doing)
        });
        let mut todo: Vec<u8> = held.chain([self.root]).flatten().collect();
        let mut seen = 0;
        while let Some(cell) = todo.pop() {
            if seen & 1 << cell != 0 {
                continue;
            }
            seen |= 1 << cell;
            if self.span(cell).colour == Colour::Free {
                return true;
            }
            todo.extend(self.span(cell).edge);
        }
        false
    }
}
