//! The collector rows, written once.
//!
//! binary-trees is the one of the Benchmarks Game: a tree that lives long, and many that die
//! young, built one after the other by one mutator. A collector's own threads may use the second
//! CPU; the CPU time shows it.

use std::time::Instant;

use harness::{Request, clock, process};

/// The depth of the smallest trees.
const MIN_DEPTH: u32 = 4;

/// Trees of nodes with two links each and nothing else.
pub trait Trees {
    /// A tree that stays alive while others come and go.
    type Kept;

    /// Builds a complete tree of this depth (0: one node), counts its nodes by walking it, and
    /// lets it die.
    fn build_and_count(&self, depth: u32) -> usize;

    /// Builds a tree that stays.
    fn keep(&self, depth: u32) -> Self::Kept;

    /// Counts the nodes of a tree that stayed.
    fn count(&self, kept: &Self::Kept) -> usize;
}

/// The row that the command line names. Returns what was asked; the peer's program then makes its
/// heap and calls [`run`].
pub fn request(peer: &str) -> Request {
    let request = Request::from_args(peer);
    if request.row != "binary-trees-18" {
        request.unknown();
    }
    request
}

/// Runs binary-trees and reports its wall time, CPU time and peak memory.
pub fn run(request: &Request, trees: &impl Trees) {
    let depth = if request.quick { 15 } else { 18 };
    let (wall, cpu) = (Instant::now(), clock::process_cpu());
    binary_trees(trees, depth);
    request.report("wall", "s", wall.elapsed().as_secs_f64());
    request.report("CPU", "s", (clock::process_cpu() - cpu).as_secs_f64());
    request.report("peak", "MiB", process::peak_bytes() as f64 / (1 << 20) as f64);
}

fn binary_trees(trees: &impl Trees, depth: u32) {
    assert_eq!(trees.build_and_count(depth + 1), nodes(depth + 1));
    let kept = trees.keep(depth);
    for small in (MIN_DEPTH..=depth).step_by(2) {
        let many = 1_usize << (depth - small + MIN_DEPTH);
        let sum: usize = (0..many).map(|_| trees.build_and_count(small)).sum();
        assert_eq!(sum, many * nodes(small), "depth {small}");
    }
    assert_eq!(trees.count(&kept), nodes(depth));
}

/// The nodes of a complete tree.
fn nodes(depth: u32) -> usize {
    (2 << depth) - 1
}
