//! A million goroutines that wait, each with a stack and thread-locals of its own: what one costs, and how
//! many mappings the kernel keeps for them.
//!
//!     cargo run --release -p runtime --example million            # takes about 5 GB
//!     cargo run --release -p runtime --example million 100000

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

#[global_allocator]
static ALLOC: runtime::Alloc = runtime::Alloc::new();

/// Bytes of a line of /proc/self/status.
fn status(name: &str) -> usize {
    let text = fs::read_to_string("/proc/self/status").expect("there is /proc");
    let line = text.lines().find(|line| line.starts_with(name)).expect("the kernel tells");
    let kib: usize = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("KiB");
    kib << 10
}

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps").expect("there is /proc").lines().count()
}

/// What the kernel allows a process.
fn most_mappings() -> usize {
    let text = fs::read_to_string("/proc/sys/vm/max_map_count").expect("there is /proc");
    text.trim().parse().expect("a number")
}

/// How many, from the command line.
fn count() -> usize {
    let mut words = std::env::args().skip(1);
    match (words.next().map_or(Ok(1_000_000), |word| word.parse()), words.next()) {
        (Ok(count @ 1..), None) => count,
        _ => {
            eprintln!("usage: million [NUMBER]: so many goroutines, a million without it");
            std::process::exit(2);
        }
    }
}

pub(crate) fn main() {
    wait(count());
}

/// Has so many goroutines wait at once, and then end.
pub(crate) fn wait(count: usize) {
    let rt = runtime::Runtime::new().expect("a runtime can be had");
    let (before, tables) = (status("VmRSS"), status("VmPTE"));
    let begin = Instant::now();
    let (tx, rx) = runtime::chan::rendezvous::<()>();
    let waiting = Arc::new(AtomicUsize::new(0));
    let all: Vec<_> = (0..count)
        .map(|number| {
            let (rx, waiting) = (rx.clone(), Arc::clone(&waiting));
            rt.go(move || {
                waiting.fetch_add(1, Ordering::Relaxed);
                // Nobody sends; the end of the channel ends the wait.
                let ended = rx.recv().is_err();
                if ended { number } else { 0 }
            })
        })
        .collect();
    while waiting.load(Ordering::Relaxed) < count {
        std::thread::yield_now();
    }
    let started = begin.elapsed();
    let each = |bytes: usize| bytes / count;
    let (mappings, most) = (mappings(), most_mappings());
    println!("{count} goroutines wait after {started:.2?}, in {mappings} mappings");
    assert!(
        mappings < most / 2,
        "{count} stacks lie in {mappings} mappings, and the kernel allows {most} (vm.max_map_count)"
    );
    println!(
        "each takes {} bytes of memory and {} of page tables",
        each(status("VmRSS") - before),
        each(status("VmPTE").saturating_sub(tables)),
    );
    drop((tx, rx));
    let sum: usize = all.into_iter().map(|one| one.join().expect("no panic")).sum();
    assert_eq!(sum, count * (count - 1) / 2, "each ran to its end");
    println!("all have ended after {:.2?}", begin.elapsed());
}
