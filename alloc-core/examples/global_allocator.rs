//! A program's own allocator in one line, and what it can tell of itself.
//!
//! Sixteen threads count words in maps of their own; the maps are merged and freed by the main thread.
//! Afterwards the memory goes back to the system at a word.
//!
//! `cargo run -p alloc-core --example global_allocator`

use std::{collections::BTreeMap, thread};

use alloc_core::global::{GlobalAlloc, ThreadBinding, heap};

#[global_allocator]
static ALLOCATOR: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();

const TEXT: &str = "the quick brown fox jumps over the lazy dog and the dog sleeps";

fn count(lines: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in 0..lines {
        for word in TEXT.split(' ') {
            *counts.entry(format!("{word}-{}", line % 500)).or_insert(0) += 1;
        }
    }
    counts
}

pub(crate) fn main() {
    let threads: Vec<_> = (0..16).map(|_| thread::spawn(|| count(1_000))).collect();
    let mut total = BTreeMap::new();
    for thread in threads {
        for (word, n) in thread.join().expect("no thread panics") {
            *total.entry(word).or_insert(0) += n;
        }
    }
    assert_eq!(total["fox-7"], 32);
    let full = heap().stats();
    println!("{} words: {} KiB in small blocks", total.len(), full.small >> 10);
    assert!(heap().contains(std::ptr::NonNull::from(&total["fox-7"]).cast()), "it is our heap");

    drop(total);
    println!("given back: {} KiB", heap().release() >> 10);
    let empty = heap().stats();
    println!("{} KiB in small blocks are left", empty.small >> 10);
    assert!(empty.small < full.small);
}
