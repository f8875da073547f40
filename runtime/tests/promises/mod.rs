//! What goroutines promise, in whatever mode they run. The roots `own_tls.rs` and `kernel_threads.rs`
//! say which.

mod alloc;
mod frozen;
mod goroutines;

use runtime::{Builder, Runtime};

#[global_allocator]
static ALLOC: runtime::Alloc = runtime::Alloc::new();

fn builder(procs: usize) -> Builder {
    Runtime::builder().procs(procs).kernel_threads(crate::KERNEL_THREADS)
}

fn with_procs(procs: usize) -> Runtime {
    builder(procs).build().unwrap()
}

#[test]
fn the_mode_is_the_one_that_was_asked_for() {
    let rt = with_procs(1);
    assert!(!(crate::KERNEL_THREADS && rt.mode().is_own_tls()), "{}", rt.mode());
}
