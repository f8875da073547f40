//! Two goroutines and two rendezvous channels: what does a round trip cost?
//!
//! `cargo run --release -p runtime --example pingpong`

use std::time::Instant;

use runtime::{chan, go};

#[runtime::main]
fn main() {
    play(200_000);
}

/// So many rounds, on a goroutine.
pub(crate) fn play(rounds: u32) {
    let (ping, pings) = chan::rendezvous();
    let (pong, pongs) = chan::rendezvous();
    let echo = go(move || {
        for ball in pings {
            pong.send(ball + 1).expect("the other side waits for it");
        }
    });
    let start = Instant::now();
    let mut ball = 0;
    for _ in 0..rounds {
        ping.send(ball).expect("the echo runs");
        ball = pongs.recv().expect("the echo answers");
    }
    let each = start.elapsed() / rounds;
    drop(ping);
    echo.join().expect("the echo does not panic");
    assert_eq!(ball, rounds);
    println!("{rounds} round trips, {each:?} each");
}
