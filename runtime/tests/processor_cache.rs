//! What lies in the cache of a processor on which nothing allocates goes back. Alone in its process, whose account
//! it looks at.

use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: runtime::Alloc = runtime::Alloc::new();

const MB: usize = 1 << 20;

/// Bytes of spans of small blocks.
fn spans() -> usize {
    let stats = alloc_core::global::heap().stats();
    stats.small + stats.holes
}

#[test]
fn a_processor_on_which_nothing_allocates_keeps_nothing_in_its_cache() {
    let rt = runtime::Builder::new().procs(1).build().unwrap();
    let before = rt.run(spans);
    let kept = rt.run(|| {
        for size in (16..3_000).step_by(40) {
            drop(std::hint::black_box(
                (0..200).map(|_| Vec::<u8>::with_capacity(size)).collect::<Vec<_>>(),
            ));
        }
        // Something for the scavenger to come for.
        drop(vec![1_u8; 64 * MB]);
        spans()
    });
    let begin = Instant::now();
    // A third may be other tests' and the harness's.
    while spans() > before + kept.saturating_sub(before) / 3 {
        assert!(begin.elapsed() < Duration::from_secs(60), "{before}, {kept}, still {}", spans());
        thread::sleep(Duration::from_millis(20));
    }
}
