//! What goroutines freed goes back to the system by itself, also when nothing runs any more.

use std::hint::black_box;
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

/// The lowest address of a stack that is at least so deep.
#[inline(never)]
fn dive(bytes: usize) -> usize {
    let frame = black_box([1_u8; 1024]);
    let here = frame.as_ptr().addr();
    black_box(if bytes > frame.len() { dive(bytes - frame.len()) } else { here })
}

/// Whether the page at that address is in memory.
fn is_resident(address: usize) -> bool {
    let mut is = 0_u8;
    // SAFETY: it tells of one page, into one byte.
    let told = unsafe { libc::mincore((address & !4095) as *mut libc::c_void, 1, &mut is) };
    assert_eq!(told, 0, "the page is there");
    is & 1 != 0
}

#[test]
fn what_deep_calls_touched_goes_back_while_the_goroutine_waits() {
    let rt = runtime::Builder::new().trim_stacks_after(Some(Duration::ZERO)).build().unwrap();
    if !rt.mode().is_own_tls() {
        return;
    }
    let (tell, told) = std::sync::mpsc::channel();
    let (tx, rx) = runtime::chan::rendezvous::<()>();
    let waits = rt.go(move || {
        tell.send(dive(64 << 10)).unwrap();
        rx.recv()
    });
    let deepest = told.recv().unwrap();
    while is_resident(deepest) {
        thread::yield_now();
    }
    tx.send(()).unwrap();
    assert!(waits.join().unwrap().is_ok());
}
