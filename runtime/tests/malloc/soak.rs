//! Goroutines that allocate, read and block, preempted all the time, with few processors and with many.
//!
//! A lock of libc's is held by somebody who does not run for most of the time. The soak ends if
//! those who wait for it always give way to the one who holds it.

use std::collections::HashMap;
use std::fs;
use std::thread;
use std::time::Duration;

use runtime::{Runtime, chan};

const GOROUTINES: usize = 24;

/// Memory in all sizes, blocks that others made, a file.
fn work(seed: usize, inbox: &chan::Receiver<Vec<u8>>, outbox: &chan::Sender<Vec<u8>>) -> usize {
    let mut words = HashMap::new();
    let text = fs::read_to_string("/proc/self/maps").expect("there is /proc");
    for (place, word) in text.split_whitespace().take(400).enumerate() {
        words.entry(word.len() % 13).or_insert_with(Vec::new).push(vec![place as u8; place * 3]);
    }
    if seed.is_multiple_of(5) {
        // Blocks its thread: another one is needed, and more are to be watched.
        thread::sleep(Duration::from_micros(200));
    }
    // Freed by whoever comes next: arenas are not private.
    let mut parcel = inbox.recv().expect("there is one per goroutine");
    parcel.resize(64 << (seed % 12), seed as u8);
    outbox.send(parcel).expect("the receiver lives");
    words
        .values()
        .flatten()
        .map(|block| usize::from(block.iter().any(|&byte| byte != block[0])))
        .sum()
}

fn soak(procs: usize, slice: Duration, rounds: usize) {
    let rt = Runtime::builder().procs(procs).preempt_after(slice).build().expect("it starts");
    let (outbox, inbox) = chan::bounded(GOROUTINES);
    (0..GOROUTINES).for_each(|seed| outbox.send(vec![seed as u8; 32]).expect("there is room"));
    let broken: usize = rt.scope(|scope| {
        let all: Vec<_> = (0..GOROUTINES)
            .map(|seed| {
                let (inbox, outbox) = (inbox.clone(), outbox.clone());
                scope.go(move || (0..rounds).map(|_| work(seed, &inbox, &outbox)).sum::<usize>())
            })
            .collect();
        all.into_iter().map(|one| one.join().expect("no panic")).sum()
    });
    assert_eq!(broken, 0, "a block was written by another");
}

fn soak_all(rounds: usize) {
    for procs in [1, 2, 8] {
        for micros in [100, 300, 1000] {
            soak(procs, Duration::from_micros(micros), rounds);
        }
    }
}

#[test]
fn goroutines_that_allocate_do_not_stop_each_other() {
    soak_all(5);
}

/// `cargo test --release -p runtime --test malloc -- --ignored`: minutes.
#[test]
#[ignore = "minutes"]
fn goroutines_that_allocate_do_not_stop_each_other_for_long() {
    (0..20).for_each(|_| soak_all(100));
}
