//! Goroutines fork while others allocate from the heap whose locks a fork takes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::Runtime;

#[global_allocator]
static ALLOC: runtime::Alloc = runtime::Alloc::new();

/// Forks, and waits for the child, which allocates and ends.
fn fork() {
    // SAFETY: the child uses the allocator, which is whole in it, and ends at once.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            drop(std::hint::black_box(vec![1_u8; 5_000]));
            libc::_exit(0);
        }
        let mut status = -1;
        assert_eq!((libc::waitpid(child, &mut status, 0), status), (child, 0));
    }
}

/// Sizes of many classes, and large ones: the locks of centrals and of the page heap.
fn allocate() {
    let blocks: Vec<Vec<u8>> = (0..200).map(|n| vec![n; 40 << (n % 12)]).collect();
    assert!(blocks.iter().zip(0..).all(|(block, n)| block[block.len() - 1] == n));
}

#[test]
fn who_forks_is_not_set_aside_with_the_heaps_locks() {
    for procs in [1, 2] {
        let slice = Duration::from_micros(300);
        let rt = Runtime::builder().procs(procs).preempt_after(slice).build().unwrap();
        let over = AtomicBool::new(false);
        rt.scope(|scope| {
            for _ in 0..4 {
                scope.go(|| {
                    while !over.load(Ordering::Relaxed) {
                        allocate();
                    }
                });
            }
            let forkers = [(); 3].map(|()| scope.go(|| (0..20).for_each(|_| fork())));
            forkers.into_iter().for_each(|forker| forker.join().unwrap());
            over.store(true, Ordering::Relaxed);
        });
    }
}
