//! Lock-free structures that two mutators share, each by turns putting something in and taking something
//! out, with whatever each operation needs around it.

use std::time::Instant;

use harness::{Request, clock};

use crate::Mutators;

const MUTATORS: usize = 2;

/// A Treiber stack and a Michael–Scott queue, empty at first.
pub trait Shared: Mutators + Sync {
    /// Pushes on the stack.
    fn push(&self, value: u64);

    /// Pops from the stack.
    fn pop(&self) -> Option<u64>;

    /// Puts into the queue.
    fn put(&self, value: u64);

    /// Takes from the queue.
    fn take(&self) -> Option<u64>;
}

/// Runs a row of this group; false if it is another's.
pub fn run<P: Shared>(request: &Request, peer: &P) -> bool {
    match request.row.as_str() {
        "stack" => measure(request, peer, P::push, P::pop),
        "queue" => measure(request, peer, P::put, P::take),
        _ => return false,
    }
    true
}

fn measure<P: Shared>(
    request: &Request,
    peer: &P,
    put: impl Fn(&P, u64) + Sync,
    take: impl Fn(&P) -> Option<u64> + Sync,
) {
    let each = request.count(5_000_000);
    let (wall, cpu) = (Instant::now(), clock::process_cpu());
    peer.mutate(MUTATORS, &|_| {
        for value in 0..each as u64 {
            put(peer, value);
            // Whoever has put one in finds one: each takes one for one.
            assert!(take(peer).is_some(), "a value was lost");
        }
    });
    let operations = 2 * MUTATORS * each;
    request.report_each("wall per operation", wall.elapsed(), operations);
    request.report_each("CPU per operation", clock::process_cpu() - cpu, operations);
}
