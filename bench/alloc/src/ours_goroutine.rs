//! Ours in a goroutine: each call goes through the runtime's entry protocol to the cache of its P.

use harness::Request;
use runtime::Runtime;

#[global_allocator]
static ALLOCATOR: runtime::Alloc = runtime::Alloc::new();

fn release() {
    ALLOCATOR.release();
}

fn main() {
    let request = Request::from_args("ours-goroutine");
    let runtime = Runtime::builder().procs(2).build().expect("a runtime can be made");
    runtime.run(|| bench_alloc::run(&request, Some(release)));
}
