//! What every benchmark shares.
//!
//! A *row* is one workload; a *peer* is one way to run it (ours, Go, tokio, …). One process runs
//! one row of one peer and prints one JSON line for each *metric*: a [`Record`]. Separate
//! processes, because a peer may install a global allocator, start threads that stay, or crash.
//!
//! - [`clock`]: wall time and CPU time.
//! - [`process`]: resident and peak memory of this process.
//! - [`stats`]: median, quantiles, spread.
//! - [`record`]: the JSON line and the command line of a peer's program.
//! - [`runner`]: the other side: starts the programs in turn and writes the tables.

pub mod clock;
pub mod process;
pub mod record;
pub mod runner;
pub mod stats;

pub use record::{Record, Request};

use std::time::Duration;

/// Runs `work` `passes` times after one pass to warm up, and returns the median time of a pass.
///
/// # Panics
///
/// If `passes` is zero.
pub fn median_time(passes: usize, mut work: impl FnMut()) -> Duration {
    work();
    let times: Vec<f64> = (0..passes).map(|_| clock::timed(&mut work).as_secs_f64()).collect();
    Duration::from_secs_f64(stats::Summary::of(&times).expect("at least one pass").median)
}

/// As [`median_time`], in CPU time of the whole process.
///
/// # Panics
///
/// If `passes` is zero.
pub fn median_cpu(passes: usize, mut work: impl FnMut()) -> Duration {
    work();
    let times: Vec<f64> = (0..passes)
        .map(|_| {
            let began = clock::process_cpu();
            work();
            (clock::process_cpu() - began).as_secs_f64()
        })
        .collect();
    Duration::from_secs_f64(stats::Summary::of(&times).expect("at least one pass").median)
}
