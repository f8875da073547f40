//! The interpreter of `runtime/examples/lisp.rs`, eight of them at once.

use std::time::Instant;

use bench_gc::Mutators;
use harness::{Request, clock, process};

#[path = "../../../runtime/examples/lisp.rs"]
#[expect(dead_code, reason = "as an example it has a program of its own")]
mod interpreter;

const INTERPRETERS: usize = 8;

/// Runs the row; false if it is another's.
pub(crate) fn run(request: &Request, mutators: &impl Mutators) -> bool {
    if request.row != "lisp" {
        return false;
    }
    let (number, result) = if request.quick { (15, "610") } else { (21, "10946") };
    let program = format!(
        "(define fib (lambda (n) (if (< n 2) n (+ (fib (- n 1)) (fib (- n 2)))))) (fib {number})"
    );
    let (wall, cpu) = (Instant::now(), clock::process_cpu());
    mutators.mutate(INTERPRETERS, &|_| assert_eq!(interpreter::run(&program), result));
    request.report("wall", "s", wall.elapsed().as_secs_f64());
    request.report("CPU", "s", (clock::process_cpu() - cpu).as_secs_f64());
    request.report("peak", "MiB", process::peak_bytes() as f64 / (1 << 20) as f64);
    true
}
