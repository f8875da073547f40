//! Nothing freezes the rest: a ticker beside a goroutine that spins for ever and 64 that block their
//! threads in the kernel. Nobody announces anything.
//!
//! `cargo run --release -p runtime --example frozen`
//!
//! In a runtime that cannot take a processor back the ticker would stop at once: more goroutines
//! block than there are processors, and one never returns.

use std::hint::black_box;
use std::time::{Duration, Instant};

use runtime::{go, sleep_until};

const TICKS: u32 = 1000;
const PERIOD: Duration = Duration::from_millis(1);

#[runtime::main]
fn main() {
    go(|| {
        loop {
            black_box(0);
        }
    });
    for _ in 0..64 {
        go(|| {
            loop {
                std::thread::sleep(Duration::from_millis(50)); // blocks the thread, not only us
            }
        });
    }
    let mut late = go(tick).join().expect("the ticker does not panic");
    late.sort();
    let at = |percent: usize| late[(late.len() - 1) * percent / 100];
    println!(
        "{TICKS} ticks of {PERIOD:?}; late by: p50 {:?}, p99 {:?}, max {:?}",
        at(50),
        at(99),
        at(100)
    );
}

/// How late each tick came.
fn tick() -> Vec<Duration> {
    let start = Instant::now();
    (1..=TICKS)
        .map(|tick| {
            let due = start + PERIOD * tick;
            sleep_until(due);
            due.elapsed()
        })
        .collect()
}
