//! Explicit-state search: is the *protocol* of the collector's cycle right, whatever the orderings?
//!
//! loom runs the production code and finds missing orderings, but a whole cycle with two mutators is
//! too long for it: its models are cut up. This search is the other half. It runs an abstract machine
//! of the protocol, one atomic step at a time and sequentially consistent, through *every* interleaving
//! that a budget of operations allows, and stops at the first state in which somebody reaches a freed
//! cell. [`Fault`] takes one rule of the protocol away; each fault must be found.
//!
//! *Safe* means: within the budget. Its tests take seconds; `--ignored` goes deeper:
//!
//! ```text
//! cargo test -p loom-tests --test gc_search -- --include-ignored --nocapture
//! ```
//!
//! The machine is small on purpose: three cells, two mutators with two pointers each, one root; edges
//! are slots, or interiors of locks; one cell may be known weakly. What
//! breaks a snapshot collector breaks it there already.
//!
//! ```
//! use loom_tests::search::{Fault, Plan, Start, Verdict, search};
//!
//! let fault = Fault::NoDeletionLog;
//! let plan = Plan { start: Start::Pair, cycles: 1, operations: [3, 1], hybrid: false, fault };
//! let Verdict::Broken { path, .. } = search(plan) else { panic!("a deletion nobody logs is fatal") };
//! assert!(path.iter().any(|step| step.contains("sweep")));
//! ```
//!
//! | file | job |
//! |---|---|
//! | `state` | what there is: cells, mutators, the collector, and who reaches what |
//! | `mutator` | steps of a mutator |
//! | `collector` | steps of the driver and its worker |

mod collector;
mod mutator;
mod state;

use core::fmt;

use rustc_hash::FxHashSet;

use state::State;

/// A rule that is taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// None: the protocol as it is.
    None,
    /// The roots are shaded at once: no handshake before them.
    NoHandsBeforeRoots,
    /// The first handshake only.
    OneHandBeforeRoots,
    /// The second handshake only.
    NoHandOne,
    /// A start that was taken back goes on where it was.
    TakenBackAndGoneOn,
    /// What a store overwrites is not logged.
    NoDeletionLog,
    /// A handshake takes a store for over that has changed its slot and has not logged.
    PassedBeforeTheLog,
    /// New objects have no colour.
    AllocateWhite,
    /// New objects are black as soon as the barrier is on.
    BlackBeforeMark,
    /// Marking ends without a handshake.
    NoHandBeforeOff,
    /// Marking ends when queue and logs are empty after the handshake, whatever was marked meanwhile.
    EmptyQueueInPlaceOfDirty,
    /// Sweep begins without a handshake.
    NoHandBeforeSweep,
    /// An allocation takes its cell by one reading of the phase word and its colour by another.
    TwoReadings,
    /// An interior is reported by the first who takes its lock after step 1, and by nobody else.
    LockReportedOnce,
    /// Marking ends while the interior of a lock is being reported.
    ReportsNotWaitedFor,
    /// An upgrade of a white object reads *mark* and logs, in place of one read-modify-write.
    UpgradeByReading,
    /// An upgrade logs nothing.
    UpgradeUnlogged,
    /// Sweep passes over spans of its own cycle only, not over those of the cycle to come: between the
    /// two halves of step 7 there are some.
    SweepsTheCycleToCome,
    /// Marking ends although something was marked and not looked into.
    OverflowIgnored,
    /// That something was is forgotten when the walk over the marked is over, not before it.
    OverflowForgottenAfterTheWalk,
    /// What there is no room for is not marked: the walk is to find it by an edge.
    OverflowUnmarked,
    /// A mutator marks what it has no room to log, and tells nobody.
    MarkedUntold,
    /// … tells the driver, and does not keep marking from ending before it marks.
    MarkedByReading,
}

/// What is in the heap at first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// The root leads to a cell, that to a second, and the third is free.
    Pair,
    /// The root leads to a cell, that to a second, and that to the third.
    Chain,
    /// As `Pair`, but the third is there, and one mutator holds it and the second; and all edges are
    /// interiors of locks. The other holds the lock of the first, taken before there was a barrier.
    Locked,
    /// The root leads to a cell; a second leads to the third, and is known weakly: an upgrade finds it.
    Weak,
    /// As `Chain`, and there may be no room for what is to be looked into, nor in a log, at any time.
    Scarce,
    /// As `Pair`, likewise.
    ScarcePair,
    /// As `Weak`, likewise.
    ScarceWeak,
}

/// How far to search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Where it begins.
    pub start: Start,
    /// Collections, at most 3.
    pub cycles: u8,
    /// Operations of each mutator: loads, stores and allocations. Entering, leaving, and the later
    /// steps of an operation are free.
    pub operations: [u8; 2],
    /// Stores log what they put in, too.
    pub hybrid: bool,
    /// What is broken.
    pub fault: Fault,
}

/// What a search found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// No reachable state is bad.
    Safe {
        /// How many states there are.
        states: usize,
    },
    /// Somebody reaches a freed cell.
    Broken {
        /// States looked at before that one.
        states: usize,
        /// A shortest way there.
        path: Vec<String>,
    },
}

/// What a step does, in words.
#[derive(Clone, Copy, Debug)]
struct Label {
    who: &'static str,
    what: &'static str,
    cell: Option<u8>,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.who, self.what)?;
        self.cell.map_or(Ok(()), |cell| write!(f, " {cell}"))
    }
}

/// A step, and the state after it.
type Step = (Label, State);

/// Searches breadth first. Takes about a microsecond and 100 bytes per state.
pub fn search(plan: Plan) -> Verdict {
    let mut seen = FxHashSet::default();
    let mut queue = vec![State::new(plan)];
    let mut origins = Vec::new();
    let mut steps = Vec::new();
    let mut next = 0;
    while let Some(&state) = queue.get(next) {
        mutator::steps(&state, plan.fault, &mut steps);
        collector::steps(&state, plan.fault, &mut steps);
        for (label, after) in steps.drain(..) {
            if !seen.insert(after) {
                continue;
            }
            queue.push(after);
            origins.push((next, label));
            if after.reaches_freed() {
                return Verdict::Broken { states: queue.len(), path: path(&origins) };
            }
        }
        next += 1;
    }
    Verdict::Safe { states: queue.len() }
}

/// The steps to the last state; `origins[i]` tells how state `i + 1` was first reached.
fn path(origins: &[(usize, Label)]) -> Vec<String> {
    let (mut path, mut state) = (Vec::new(), origins.len());
    while state > 0 {
        let (before, label) = origins[state - 1];
        path.push(label.to_string());
        state = before;
    }
    path.reverse();
    path
}
