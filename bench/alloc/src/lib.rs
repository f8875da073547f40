//! The allocator rows, written once.
//!
//! Each peer is a program that installs its `#[global_allocator]` and calls [`main`]. Every row
//! reports CPU time per operation (an allocator that works in a background thread pays for it
//! here) and the peak of resident memory; rows with several threads also the wall time.
//!
//! - `block`: a block of memory, random numbers.
//! - `single`: one thread: pairs, batches, live sets, large blocks, collections.
//! - `threads`: blocks that one thread allocates and another frees.
//! - `memory`: what stays resident after most blocks are freed, and what a refill costs.

pub mod block;
mod memory;
mod single;
mod threads;

use std::time::Duration;

use harness::{Request, process};

/// How a peer is told to give back what is free; `None` if it has no such call.
pub type Release = Option<fn()>;

/// Runs the row that the command line names, on this thread.
pub fn main(peer: &str, release: Release) {
    run(&Request::from_args(peer), release);
}

/// Runs the row that was asked for, on the calling thread.
pub fn run(request: &Request, release: Release) {
    match request.row.as_str() {
        "pair-16" => single::pair(request, 16, 5_000_000),
        "pair-256" => single::pair(request, 256, 5_000_000),
        "pair-1024" => single::pair(request, 1024, 5_000_000),
        "pair-4096" => single::pair(request, 4096, 5_000_000),
        "pair-8k" => single::pair(request, 8 << 10, 5_000_000),
        "pair-32k" => single::pair(request, 32 << 10, 5_000_000),
        "pair-100k" => single::pair(request, 100_000, 500_000),
        "batch-64" => single::batch(request, 64),
        "batch-1024" => single::batch(request, 1024),
        "replace-10k" => single::replace(request, 10_000, 1024),
        "replace-1m" => single::replace(request, 1_000_000, 512),
        "churn" => single::churn(request),
        "large" => single::large(request),
        "grow" => single::grow(request),
        "grow-huge" => single::grow_huge(request),
        "collections" => single::collections(request),
        "cross-free" => threads::cross_free(request),
        "exchange" => threads::exchange(request),
        "hand-over" => threads::hand_over(request),
        "keep-random" => memory::keep(request, release, memory::random_tenth),
        "keep-runs" => memory::keep(request, release, memory::runs),
        "refill" => memory::refill(request, &memory::SOON_AND_LATER),
        "refill-late" => memory::refill(request, &memory::LATE_AND_AGAIN),
        _ => request.unknown(),
    }
}

/// Reports the time of `operations` operations, and the most memory this process ever had.
fn report(request: &Request, cpu: Duration, operations: usize) {
    request.report_each("CPU", cpu, operations);
    request.report("peak", "MiB", mebibytes(process::peak_bytes()));
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
