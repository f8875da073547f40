//! `alloc-programs`: whole programs on the `malloc` of their process, which `LD_PRELOAD` exchanges.
//!
//! ```text
//! alloc-programs ROW [--quick]        runs the program of a row by the allocator of `BENCH_PEER`, and
//!                                     reports its CPU seconds and its peak of resident memory
//! alloc-programs work ROW [--quick]   is one of those programs
//! ```
//!
//! - `launch`: finds the library, proves that the program's `malloc` is bound to it, runs, measures.
//! - `solvers`, `servers`, `sharing`: the programs of our own. This binary installs no allocator, so a
//!   `Box` is a call of `malloc`. Their shapes follow those of the usual collection (mimalloc-bench: Leijen
//!   and others, from Larson and Krishnan 1998, Berger's Hoard, Evans' xmalloc), none of their code.
//! - `larson.cpp`, `interpreter.py`: what Rust cannot stand in for: C++'s sized `delete`, and an interpreter.

mod launch;
mod servers;
mod sharing;
mod solvers;

use harness::Request;

/// A program: it may do a tenth of its work.
type Work = fn(&Request);

/// The programs that are written here, by row.
const WORK: &[(&str, Work)] = &[
    ("symbolic", solvers::symbolic),
    ("cubes", solvers::cubes),
    ("barnes", solvers::barnes),
    ("alloc-test", servers::alloc_test),
    ("xmalloc", servers::xmalloc),
    ("mstress", servers::mstress),
    ("mleak", servers::mleak),
    ("rptest", servers::rptest),
    ("cache-scratch", sharing::cache_scratch),
    ("cache-thrash", sharing::cache_thrash),
    ("malloc-large", sharing::malloc_large),
];

fn main() {
    let request = Request::from_args("programs");
    if request.row != "work" {
        return launch::run(&request);
    }
    let mut words = std::env::args().skip(2);
    let row = words.next().unwrap_or_default();
    let quick = words.next().as_deref() == Some("--quick");
    let request = Request { row, quick, ..request };
    match WORK.iter().find(|(name, _)| *name == request.row) {
        Some((_, work)) => work(&request),
        None => request.unknown(),
    }
}
