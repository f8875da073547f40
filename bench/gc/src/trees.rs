//! binary-trees of the Benchmarks Game: a tree that lives long, and many that die young, built one after
//! the other. With one mutator to depth 18, with two that share the trees of each depth to 21.
//!
//! A collector's own threads may use the second CPU; the CPU time shows it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use harness::{Request, clock, process};

use crate::Mutators;

/// The depth of the smallest trees.
const MIN_DEPTH: u32 = 4;

/// Trees of nodes with two links each and nothing else.
pub trait Trees: Mutators + Sync {
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

/// Runs the row and reports its wall time, CPU time and peak memory; false if it is another's.
pub fn run(request: &Request, trees: &impl Trees) -> bool {
    let (depth, mutators) = match request.row.as_str() {
        "binary-trees-18" => (18, 1),
        "binary-trees-21" => (21, 2),
        _ => return false,
    };
    let depth = if request.quick { depth - 3 } else { depth };
    let (wall, cpu) = (Instant::now(), clock::process_cpu());
    binary_trees(trees, depth, mutators);
    request.report("wall", "s", wall.elapsed().as_secs_f64());
    request.report("CPU", "s", (clock::process_cpu() - cpu).as_secs_f64());
    request.report("peak", "MiB", process::peak_bytes() as f64 / (1 << 20) as f64);
    true
}

fn binary_trees(trees: &impl Trees, depth: u32, mutators: usize) {
    assert_eq!(trees.build_and_count(depth + 1), nodes(depth + 1));
    let kept = trees.keep(depth);
    for small in (MIN_DEPTH..=depth).step_by(2) {
        let many = 1_usize << (depth - small + MIN_DEPTH);
        assert_eq!(sum(trees, small, many, mutators), many * nodes(small), "depth {small}");
    }
    assert_eq!(trees.count(&kept), nodes(depth));
}

/// The nodes of so many trees.
fn sum(trees: &impl Trees, depth: u32, many: usize, mutators: usize) -> usize {
    let build = |many: usize| (0..many).map(|_| trees.build_and_count(depth)).sum();
    if mutators == 1 {
        return build(many);
    }
    let all = AtomicUsize::new(0);
    trees.mutate(mutators, &|_| {
        // Relaxed: a sum that is read when all are done.
        all.fetch_add(build(many / mutators), Ordering::Relaxed);
    });
    all.into_inner()
}

/// The nodes of a complete tree.
fn nodes(depth: u32) -> usize {
    (2 << depth) - 1
}
