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
    /// A store that has logged what it is about to put in (the hybrid barrier), in an operation of its
    /// own.
    Announced {
        place: Place,
        new: Link,
    },
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
    /// A lock is taken, in an operation that has not read the phase.
    Locking {
        cell: u8,
        new: Link,
    },
    /// … whose interior is to be reported; counted, and in no operation. In step 5, if `marking`.
    Reporting {
        marking: bool,
        cell: u8,
        new: Link,
    },
    /// … whose interior is logged, but the word not dirty, nor the report counted out.
    Reported {
        marking: bool,
        cell: u8,
        new: Link,
    },
    /// … which is held, and nothing is stored yet.
    Holding {
        cell: u8,
        new: Link,
    },
    /// … which is to be left.
    Leaving {
        cell: u8,
    },
    /// An upgrade for `hand` that has read the phase.
    Upgrading {
        reading: Reading,
        hand: u8,
    },
    /// … that is to be logged.
    Keeping {
        hand: u8,
    },
    /// What was to be logged found no room; marking does not end now, and the cell is to be marked.
    Marking {
        cell: u8,
    },
    /// … which is marked, and the driver is to be told.
    Telling,
}

impl Doing {
    /// Whether a handshake waits for its end.
    pub(super) fn is_operation(self) -> bool {
        !matches!(
            self,
            Doing::Nothing
                | Doing::Announced { .. }
                | Doing::Reporting { .. }
                | Doing::Reported { .. }
                | Doing::Holding { .. }
                | Doing::Leaving { .. }
        )
    }

    /// Whether a slot is changed and its log is not written.
    pub(super) fn is_log(self) -> bool {
        matches!(self, Doing::Logging { .. })
    }

    /// Whether an interior is being reported.
    pub(super) fn is_report(self) -> bool {
        matches!(self, Doing::Reporting { .. } | Doing::Reported { .. })
    }

    /// The cell whose lock is held.
    fn lock(self) -> Link {
        match self {
            Doing::Locking { cell, .. }
            | Doing::Reporting { cell, .. }
            | Doing::Reported { cell, .. }
            | Doing::Holding { cell, .. }
            | Doing::Leaving { cell } => Some(cell),
            _ => None,
        }
    }
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
        self.seen &= self.doing.is_operation();
        if !matches!(
            self.doing,
            Doing::Taking { .. } | Doing::Upgrading { .. } | Doing::Keeping { .. }
        ) {
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
    /// Step 1 is taken back; the second handshake's guards are waited for.
    WaitOff,
    Roots,
    Clear,
    Drain,
    /// Walks over the marked, and has come to this cell.
    Walk(u8),
    /// After the third handshake.
    Last,
    Open,
    /// The spans are open; the weak slot is to be looked at.
    Bury,
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
    pub(super) hybrid: bool,
    pub(super) word: Reading,
    pub(super) dirty: bool,
    pub(super) epoch: u8,
    /// Step 1 was taken back in this cycle: not again.
    pub(super) taken_back: bool,
    /// The space's own number of the cycle, and whether it may be swept.
    pub(super) opened: u8,
    pub(super) permitted: bool,
    /// Cells to be marked, and marked cells to be looked into.
    pub(super) grey: u8,
    pub(super) scan: u8,
    /// There may be no room for them; and something was marked that is not on these lists.
    pub(super) scarce: bool,
    pub(super) overflowed: bool,
    pub(super) driver: Driver,
    pub(super) cycles: u8,
    pub(super) mutators: [Mutator; 2],
    /// Edges are interiors of locks.
    pub(super) locks: bool,
    /// Interiors that were reported for good in this cycle, one bit each.
    pub(super) reported: u8,
    /// What is known weakly, and the cycle for which that was looked at.
    pub(super) weak: Link,
    pub(super) buried: u8,
}

impl State {
    pub(super) fn new(plan: Plan) -> Self {
        let span = |colour, edge| Span { colour, edge, stamp: 1 };
        let spans = match plan.start {
            Start::Pair | Start::ScarcePair => {
                [span(Colour::White, Some(1)), span(Colour::White, None), span(Colour::Free, None)]
            }
            Start::Chain | Start::Scarce => [
                span(Colour::White, Some(1)),
                span(Colour::White, Some(2)),
                span(Colour::White, None),
            ],
            Start::Locked => {
                [span(Colour::White, Some(1)), span(Colour::White, None), span(Colour::White, None)]
            }
            Start::Weak | Start::ScarceWeak => {
                [span(Colour::White, None), span(Colour::White, Some(2)), span(Colour::White, None)]
            }
        };
        let mutator = |left| Mutator {
            guard: None,
            hands: [None; 2],
            doing: Doing::Nothing,
            seen: false,
            log: 0,
            left,
        };
        let mut mutators = plan.operations.map(mutator);
        if plan.start == Start::Locked {
            let doing = Doing::Holding { cell: 0, new: None };
            mutators[0] = Mutator { guard: Some(0), hands: [Some(1), Some(2)], ..mutators[0] };
            mutators[1] = Mutator { guard: Some(0), hands: [None, Some(0)], doing, ..mutators[1] };
        }
        State {
            spans,
            root: Some(0),
            hybrid: plan.hybrid,
            word: Reading { phase: Phase::Off, cycle: 1 },
            dirty: false,
            epoch: 0,
            taken_back: false,
            opened: 1,
            permitted: true,
            grey: 0,
            scan: 0,
            scarce: matches!(plan.start, Start::Scarce | Start::ScarcePair | Start::ScarceWeak),
            overflowed: false,
            driver: Driver::Prepare,
            cycles: plan.cycles,
            mutators,
            locks: plan.start == Start::Locked,
            reported: 0,
            weak: matches!(plan.start, Start::Weak | Start::ScarceWeak).then_some(1),
            buried: 1,
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

    /// Whether somebody holds the lock of a cell.
    pub(super) fn is_locked(&self, cell: u8) -> bool {
        self.mutators.iter().any(|mutator| mutator.doing.lock() == Some(cell))
    }

    /// Whether the cycle that has ended leaves a cell alone.
    pub(super) fn survives(&self, cell: u8, cycle: u8) -> bool {
        let span = self.span(cell);
        span.colour == Colour::Marked || span.stamp == cycle
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
                Doing::Announced { place: Place::Edge(cell), new } => [Some(cell), new],
                Doing::Announced { new, .. } => [new, None],
                Doing::Colouring { cell, .. } | Doing::Leaving { cell } => [Some(cell), None],
                Doing::Locking { cell, new }
                | Doing::Reporting { cell, new, .. }
                | Doing::Reported { cell, new, .. }
                | Doing::Holding { cell, new } => [Some(cell), new],
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
