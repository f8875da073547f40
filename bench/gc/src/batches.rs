//! What is built at once and dropped at once, again and again, by one mutator. The number is CPU time of
//! the whole process per object, collection included.

use harness::{Request, clock, process};

/// Nodes of a list or graph.
const NODES: usize = 1_000_000;

/// How many lists or graphs, one after the other.
const BATCHES: usize = 10;

/// Objects of a chain.
pub const CHAIN: usize = 1_000;

/// Lists, graphs and chains.
pub trait Batches {
    /// Builds a doubly linked list of so many nodes, numbered from 0; walks it to its end and back; lets
    /// it go. Returns the sum of the numbers met.
    fn list(&self, nodes: usize) -> u64;

    /// Builds a graph of so many nodes, numbered from 0, each with two edges to nodes chosen by
    /// [`random`](crate::random) from `seed`: first those of node 0, then those of node 1, and so on.
    /// Follows `nodes` edges from node 0, by turns the first and the second; lets it go. Returns the
    /// sum of the numbers met.
    fn graph(&self, nodes: usize, seed: u64) -> u64;

    /// Allocates so many chains of [`CHAIN`] objects of `8 * (1 + WORDS)` bytes: an edge to the one
    /// before, and `WORDS` words of which the first is written.
    fn chains<const WORDS: usize>(&self, chains: usize);
}

/// Runs a row of this group; false if it is another's.
pub fn run(request: &Request, peer: &impl Batches) -> bool {
    let chains = request.count(20_000);
    match request.row.as_str() {
        "list" => lists(request, peer),
        "graph" => graphs(request, peer),
        "alloc-16" => measure(request, chains * CHAIN, || peer.chains::<1>(chains)),
        "alloc-64" => measure(request, chains * CHAIN, || peer.chains::<7>(chains)),
        "alloc-256" => measure(request, chains / 4 * CHAIN, || peer.chains::<31>(chains / 4)),
        _ => return false,
    }
    true
}

fn lists(request: &Request, peer: &impl Batches) {
    let nodes = request.count(NODES);
    let sum = (nodes * (nodes - 1)) as u64;
    measure(request, nodes * BATCHES, || {
        for _ in 0..BATCHES {
            assert_eq!(peer.list(nodes), sum, "a node was lost");
        }
    });
}

fn graphs(request: &Request, peer: &impl Batches) {
    let nodes = request.count(NODES);
    let sums: Vec<u64> =
        (1..=BATCHES as u64).map(|n| graph_sum(nodes, crate::SEED.wrapping_mul(n))).collect();
    measure(request, nodes * BATCHES, || {
        for (sum, n) in sums.iter().zip(1..) {
            assert_eq!(peer.graph(nodes, crate::SEED.wrapping_mul(n)), *sum, "an edge was lost");
        }
    });
}

/// What [`Batches::graph`] returns, found without a heap.
fn graph_sum(nodes: usize, mut seed: u64) -> u64 {
    let mut edge = || crate::random(&mut seed) as usize % nodes;
    let edges: Vec<[usize; 2]> = (0..nodes).map(|_| [edge(), edge()]).collect();
    let (mut at, mut sum) = (0, 0);
    for step in 0..nodes {
        at = edges[at][step % 2];
        sum += at as u64;
    }
    sum
}

fn measure(request: &Request, objects: usize, work: impl FnOnce()) {
    let cpu = clock::process_cpu();
    work();
    request.report_each("CPU per object", clock::process_cpu() - cpu, objects);
    request.report("peak", "MiB", process::peak_bytes() as f64 / (1 << 20) as f64);
}
