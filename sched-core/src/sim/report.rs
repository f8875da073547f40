//! What a run came to.

use core::fmt;
use std::collections::BTreeMap;

/// What a run came to. Times are in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Ps.
    pub procs: usize,
    /// Goroutines that there were.
    pub jobs: usize,
    /// From the beginning to the end of the last one.
    pub makespan: u64,
    /// Time in which goroutines computed, of all Ps.
    pub computed: u64,
    /// Time in which Ps were idle or looked for work.
    pub idle: u64,
    /// Time in which Ps waited for a lock.
    pub locked: u64,
    /// Goroutines taken from other Ps.
    pub steals: u64,
    /// Ms that were woken.
    pub wakes: u64,
    /// Goroutines that were preempted.
    pub preemptions: u64,
    /// How long those who were ready waited, by kind.
    pub waits: BTreeMap<&'static str, Kind>,
}

/// The waits of one kind of goroutines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// All of them, sorted.
    all: Vec<u64>,
    /// Nanoseconds that it computed.
    pub computed: u64,
    /// When the last one of the kind ended.
    pub ended: u64,
}

/// How long goroutines waited, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// Half of them waited at most so long.
    pub p50: u64,
    /// Of a hundred, 99.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

impl Kind {
    pub(super) fn note(&mut self, wait: u64) {
        self.all.push(wait);
    }

    pub(super) fn sort(&mut self) {
        self.all.sort_unstable();
    }

    /// In short; zeros if nobody waited.
    pub fn waits(&self) -> Waits {
        let at = |share: f64| {
            let index = (self.all.len() as f64 * share) as usize;
            self.all.get(index.min(self.all.len().saturating_sub(1))).copied().unwrap_or(0)
        };
        Waits { p50: at(0.5), p99: at(0.99), max: self.all.last().copied().unwrap_or(0) }
    }
}

impl Report {
    /// The waits of all kinds together.
    pub fn waits(&self) -> Waits {
        let mut all = Kind::default();
        all.all = self.waits.values().flat_map(|kind| kind.all.iter().copied()).collect();
        all.sort();
        all.waits()
    }

    /// The share of all time in which goroutines computed, of 1.
    pub fn utilisation(&self) -> f64 {
        self.computed as f64 / (self.makespan.max(1) as f64 * self.procs as f64)
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        write!(f, "{:.1} / {:.1} / {:.1} µs", micros(self.p50), micros(self.p99), micros(self.max))
    }
}
