//! Two goroutines and two rendezvous channels: what does a round trip cost?
//!
//! `cargo run --release -p runtime --example pingpong`

use std::time::Instant;

use runtime::{chan, go};

const ROUNDS: u32 = 200_000;

#[runtime::main]
pub(crate) fn main() {
    let (ping, pings) = chan::rendezvous();
    let (pong, pongs) = chan::rendezvous();
    let echo = go(move || {
        for ball in pings {
            pong.send(ball + 1).expect("the other side waits for it");
        }
    });
    let start = Instant::now();
    let mut ball = 0;
    for _ in 0..ROUNDS {
        ping.send(ball).expect("the echo runs");
        ball = pongs.recv().expect("the echo answers");
    }
    let each = start.elapsed() / ROUNDS;
    drop(ping);
    echo.join().expect("the echo does not panic");
    assert_eq!(ball, ROUNDS);
    println!("{ROUNDS} round trips, {each:?} each");
}
