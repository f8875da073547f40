//! What goroutines freed goes back to the system by itself, also when nothing runs any more.

use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: runtime::Alloc = runtime::Alloc::new();

const MB: usize = 1 << 20;

/// Waits until no more than a few megabytes of free memory are held.
fn await_return() {
    let begin = Instant::now();
    while alloc_core::global::heap().stats().free > 4 * MB {
        assert!(begin.elapsed() < Duration::from_secs(60), "free memory stays");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn free_memory_goes_back_while_the_runtime_is_idle_and_again_after_it_was_busy() {
    let rt = runtime::Runtime::new().unwrap();
    for _ in 0..2 {
        let bytes = rt.run(|| {
            let buffers: Vec<_> = (0..32).map(|i| vec![i as u8 + 1; 2 * MB]).collect();
            buffers.iter().map(Vec::len).sum::<usize>()
        });
        assert_eq!(bytes, 64 * MB);
        await_return();
    }
}

#[test]
fn free_memory_goes_back_while_goroutines_run() {
    let rt = runtime::Runtime::new().unwrap();
    rt.run(|| {
        drop(vec![1_u8; 64 * MB]);
        await_return();
    });
}
