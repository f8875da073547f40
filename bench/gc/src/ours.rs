//! Ours: the runtime's collected heap, used by goroutines.

mod collected;
mod lisp;

use std::time::Duration;

use runtime::{Runtime, gc as library};

#[global_allocator]
static ALLOCATOR: runtime::Alloc = runtime::Alloc::new();

fn main() {
    let request = harness::Request::from_args("ours");
    let runtime = Runtime::builder().procs(2).build().expect("a runtime can be made");
    runtime.run(|| {
        let peer = collected::Collected::new(library::heap().clone());
        if !(peer.run(&request) || lisp::run(&request, &peer)) {
            request.unknown();
        }
    });
}

fn mutate(count: usize, work: &(dyn Fn(usize) + Sync)) {
    runtime::scope(|scope| {
        for number in 0..count {
            scope.go(move || work(number));
        }
    });
}

fn collect(_: &library::Heap) {
    library::collect().expect("no guard is held");
}

/// Nobody runs but goroutines on the processors, so what passes on the clock is theirs.
fn time(stats: &library::Stats) -> Option<Duration> {
    Some(stats.time())
}

fn sleep(time: Duration) {
    runtime::sleep(time);
}
