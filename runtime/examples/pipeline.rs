//! A pipeline: numbers, two kinds of work on them, and one place that takes results as they come,
//! counts the quiet moments, and stops when both sides are done.
//!
//! `cargo run -p runtime --example pipeline`

use std::time::Duration;

use runtime::chan::{self, Receiver};
use runtime::{go, select};

/// Starts a goroutine that turns each number into another one.
fn stage(input: Receiver<u64>, work: impl Fn(u64) -> u64 + Send + 'static) -> Receiver<u64> {
    let (tx, rx) = chan::bounded(8);
    go(move || {
        for number in input {
            if tx.send(work(number)).is_err() {
                return; // nobody wants more
            }
        }
    });
    rx
}

/// The numbers below `end`.
fn numbers(end: u64) -> Receiver<u64> {
    let (tx, rx) = chan::bounded(8);
    go(move || (0..end).all(|number| tx.send(number).is_ok()));
    rx
}

#[runtime::main]
pub(crate) fn main() {
    let squares = stage(numbers(1000), |n| n * n);
    let slow = stage(numbers(10), |n| {
        runtime::sleep(Duration::from_millis(2));
        n + 1_000_000
    });
    let (mut squares, mut slow) = (Some(&squares), Some(&slow));
    let (mut sum, mut quiet) = (0, 0);
    while squares.is_some() || slow.is_some() {
        select! {
            recv(squares) -> number => match number {
                Ok(number) => sum += number,
                Err(_) => squares = None, // closed: switch the case off
            },
            recv(slow) -> number => match number {
                Ok(number) => sum += number,
                Err(_) => slow = None,
            },
            default(Duration::from_millis(1)) => quiet += 1,
        }
    }
    println!("sum {sum}, {quiet} quiet moments");
    assert_eq!(
        sum,
        (0..1000).map(|n| n * n).sum::<u64>() + (0..10).map(|n| n + 1_000_000).sum::<u64>()
    );
}
