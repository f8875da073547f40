//! What a run is told by its environment: how long, with which random numbers, and what is wrong with it.

use std::{
    env,
    fmt::Arguments,
    io::{self, Write},
    process,
    time::Duration,
};

/// What is planted in a run, to see that it ends as it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plant {
    /// The search overlooks a node.
    Overlooked,
    /// The register says of a reachable node that it is dead.
    Buried,
    /// The same of one that dies a moment later: its destructor panics.
    DiesTwice,
    /// A death that was told of is forgotten.
    Untold,
    /// The collector panics in the middle of a cycle.
    Collector,
    /// A thread stays where it is, and holds a guard.
    Stays,
}

impl Plant {
    pub(crate) const ALL: [Self; 6] = [
        Self::Overlooked,
        Self::Buried,
        Self::DiesTwice,
        Self::Untold,
        Self::Collector,
        Self::Stays,
    ];
}

/// A run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) time: Duration,
    pub(crate) seed: u64,
    /// Comes up in the second round.
    pub(crate) plant: Option<Plant>,
}

impl Plan {
    /// Rounds of a run, however short its time. One whose threads have done nothing yet is no verdict.
    pub(crate) const ROUNDS: u64 = 2;

    pub(crate) fn read() -> Self {
        let name = env::var("GC_STRESS_PLANT").ok();
        let named = |name: String| {
            let plant = Plant::ALL.into_iter().find(|plant| format!("{plant:?}") == name);
            plant.unwrap_or_else(|| panic!("GC_STRESS_PLANT={name}"))
        };
        Self {
            time: Duration::from_secs(number("GC_STRESS_SECONDS").unwrap_or(1)),
            seed: number("GC_STRESS_SEED").unwrap_or_else(|| u64::from(process::id())),
            plant: name.map(named),
        }
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
}

/// Says something that must not be lost: the harness keeps what is printed by `eprintln!` until the test has
/// ended, and forgets it if the process ends first.
pub(crate) fn say(line: Arguments<'_>) {
    // Who reads it may be gone; that is no reason to end otherwise.
    let _ = writeln!(io::stderr(), "{line}");
}
