//! Goroutines allocate from the caches of Ps while they are preempted, migrate and block.

use std::collections::HashMap;
use std::time::Duration;

use runtime::chan;

use super::{builder, with_procs};

/// Allocates, frees and checks: each block holds its own number.
fn churn(seed: u64, rounds: u64) -> u64 {
    let mut live: HashMap<u64, Vec<u64>> = HashMap::new();
    let mut word = seed | 1;
    for _ in 0..rounds {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = word >> 58;
        let fresh = vec![word; (word >> 40) as usize % 300 + 1];
        if let Some(old) = live.insert(key, fresh) {
            assert!(
                old.windows(2).all(|pair| pair[0] == pair[1]),
                "a block was written by another"
            );
        }
    }
    live.values().map(|block| block[0] >> 58).sum()
}

#[test]
fn goroutines_allocate_under_preemption() {
    let expected: Vec<u64> = (0..16).map(|seed| churn(seed, 2000)).collect();
    for procs in [1, 2, 3] {
        let rt = builder(procs).preempt_after(Duration::from_micros(200)).build().unwrap();
        let got: Vec<u64> = rt.scope(|s| {
            let all: Vec<_> = (0..16).map(|seed| s.go(move || churn(seed, 2000))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(got, expected);
    }
}

#[test]
fn blocks_are_freed_by_other_goroutines_and_threads() {
    let rt = with_procs(2);
    let (tx, rx) = chan::bounded::<Vec<u64>>(16);
    let from_threads = tx.clone();
    let makers: Vec<_> = (0..4_u64)
        .map(|i| {
            let tx = tx.clone();
            rt.go(move || (0..500).for_each(|n| tx.send(vec![i * 1000 + n; 100]).unwrap()))
        })
        .collect();
    drop(tx);
    let thread = std::thread::spawn(move || {
        (0..500).for_each(|n| from_threads.send(vec![n; 50]).unwrap());
    });
    let sum: u64 = rt.run(move || rx.iter().map(|block| block[block.len() - 1]).sum());
    makers.into_iter().for_each(|maker| maker.join().unwrap());
    thread.join().unwrap();
    let numbers = 500 * 499 / 2;
    assert_eq!(sum, 5 * numbers + (1000 + 2000 + 3000) * 500);
}
