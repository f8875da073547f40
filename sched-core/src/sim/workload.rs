//! What simulated goroutines do.

use super::{Program, Step, View, Workload};
use crate::policy::Class;

/// A binary tree: each starts two, computes, and waits for both.
#[derive(Clone, Copy, Debug)]
pub struct ForkJoin {
    /// Levels below the root.
    pub depth: u32,
    /// Nanoseconds that each computes.
    pub leaf: u64,
}

impl ForkJoin {
    fn node(self, depth: u32, parent: Option<usize>) -> Program {
        let mut step = 0;
        Program::new("node", move |view| {
            step += 1;
            match (step, depth) {
                (1 | 2, 1..) => Step::Spawn(self.node(depth - 1, Some(view.me))),
                (1, 0) | (3, 1..) => Step::Compute(self.leaf),
                (4, 1..) => Step::Await(2),
                (2, 0) | (5, 1..) => parent.map_or(Step::End, Step::Signal),
                _ => Step::End,
            }
        })
    }
}

impl Workload for ForkJoin {
    fn name(&self) -> &'static str {
        "fork-join"
    }

    fn begin(&self, _: usize) -> Vec<Program> {
        vec![self.node(self.depth, None)]
    }
}

/// Pairs that hand a token to and fro; as many as there are Ps, and one in four more.
#[derive(Clone, Copy, Debug)]
pub struct PingPong {
    /// Round trips of each pair.
    pub rounds: u32,
    /// Nanoseconds between receiving and sending.
    pub work: u64,
}

impl PingPong {
    fn player(self, serves: bool) -> Program {
        let (mut left, mut turn) = (self.rounds, if serves { 0 } else { 2 });
        Program::new("player", move |view| {
            // The other one was born next to it.
            let other = view.me ^ 1;
            turn = turn % 3 + 1;
            match turn {
                1 => Step::Compute(self.work),
                2 => Step::Signal(other),
                _ if left == 0 => Step::End,
                _ => {
                    left -= 1;
                    Step::Await(1)
                }
            }
        })
    }
}

impl Workload for PingPong {
    fn name(&self) -> &'static str {
        "ping-pong"
    }

    fn begin(&self, procs: usize) -> Vec<Program> {
        let pairs = procs + procs.div_ceil(4);
        (0..2 * pairs).map(|n| self.player(n % 2 == 0)).collect()
    }
}

/// Requests that come in bursts, each of which starts some short pieces of work and waits for them.
#[derive(Clone, Copy, Debug)]
pub struct Bursty {
    /// Bursts of each source; there is a source for eight Ps.
    pub bursts: u32,
    /// Pieces of work in a burst, for each P.
    pub pieces: u32,
    /// Nanoseconds of a piece.
    pub work: u64,
    /// Nanoseconds between two bursts.
    pub pause: u64,
}

impl Bursty {
    fn piece(self, source: usize) -> Program {
        let mut step = 0;
        Program::new("piece", move |view| {
            step += 1;
            match step {
                // Between a half and one and a half.
                1 => Step::Compute(self.work / 2 + view.random % self.work),
                2 => Step::Signal(source),
                _ => Step::End,
            }
        })
    }

    fn source(self, pieces: u32) -> Program {
        let (mut left, mut step) = (self.bursts, 0);
        Program::new("source", move |view| {
            if left == 0 {
                return Step::End;
            }
            step += 1;
            match step {
                1 => Step::Sleep(self.pause / 2 + view.random % self.pause),
                n if n <= pieces + 1 => Step::Spawn(self.piece(view.me)),
                _ => {
                    (step, left) = (0, left - 1);
                    Step::Await(pieces)
                }
            }
        })
    }
}

impl Workload for Bursty {
    fn name(&self) -> &'static str {
        "bursty"
    }

    fn begin(&self, procs: usize) -> Vec<Program> {
        let sources = procs.div_ceil(8);
        let pieces = self.pieces * procs as u32 / sources as u32;
        (0..sources).map(|_| self.source(pieces)).collect()
    }
}

/// Goroutines that compute and never call, beside sleepers that wake all the time.
#[derive(Clone, Copy, Debug)]
pub struct Hogs {
    /// Its name in tables.
    pub name: &'static str,
    /// Hogs for each P.
    pub hogs: usize,
    /// Nanoseconds that each hog computes.
    pub work: u64,
    /// Sleepers for each P.
    pub sleepers: u32,
    /// Nanoseconds between two wakings of a sleeper.
    pub period: u64,
    /// Nanoseconds that it computes then.
    pub turn: u64,
    /// How often it wakes.
    pub wakings: u32,
}

impl Hogs {
    /// As many woken ones as there are, and more than the machine can serve: hogs must not starve.
    pub const FLOOD: Hogs = Hogs {
        name: "flood",
        hogs: 4,
        work: 20_000_000,
        sleepers: 40,
        period: 100_000,
        turn: 10_000,
        wakings: 100,
    };

    /// A ticker beside hogs: it must not wait for slices.
    pub const TICKER: Hogs = Hogs {
        name: "hogs",
        hogs: 4,
        work: 50_000_000,
        sleepers: 1,
        period: 1_000_000,
        turn: 2_000,
        wakings: 150,
    };

    /// No hogs: nothing but goroutines that are woken, each for 10 µs. Each passes through the shared part
    /// twice.
    pub const WOKEN: Hogs = Hogs {
        name: "woken",
        hogs: 0,
        work: 0,
        sleepers: 20,
        period: 100_000,
        turn: 10_000,
        wakings: 100,
    };

    fn hog(self) -> Program {
        let mut begun = false;
        let step = move |_: View| match core::mem::replace(&mut begun, true) {
            false => Step::Compute(self.work),
            true => Step::End,
        };
        Program::new("hog", step).class(Class::Background)
    }

    fn sleeper(self) -> Program {
        let (mut left, mut sleeps) = (self.wakings, false);
        let step = move |view: View| {
            if left == 0 {
                return Step::End;
            }
            sleeps = !sleeps;
            if sleeps {
                return Step::Sleep(self.period / 2 + view.random % self.period);
            }
            left -= 1;
            Step::Compute(self.turn)
        };
        Program::new("sleeper", step).class(Class::Urgent)
    }
}

impl Workload for Hogs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn begin(&self, procs: usize) -> Vec<Program> {
        let hogs = (0..self.hogs * procs).map(|_| self.hog());
        let sleepers = (0..self.sleepers as usize * procs).map(|_| self.sleeper());
        hogs.chain(sleepers).collect()
    }
}

/// Goroutines that give way all the time, eight for each P: nothing but scheduling.
#[derive(Clone, Copy, Debug)]
pub struct Yields {
    /// Turns of each.
    pub turns: u32,
    /// Nanoseconds between two.
    pub work: u64,
}

impl Workload for Yields {
    fn name(&self) -> &'static str {
        "yields"
    }

    fn begin(&self, procs: usize) -> Vec<Program> {
        let (turns, work) = (self.turns, self.work);
        let yielder = |_| {
            let (mut left, mut computes) = (turns, false);
            Program::new("yielder", move |_| {
                computes = !computes;
                if computes {
                    return Step::Compute(work);
                }
                left = left.saturating_sub(1);
                if left == 0 { Step::End } else { Step::Yield }
            })
        };
        (0..8 * procs).map(yielder).collect()
    }
}
