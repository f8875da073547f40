//! Ours: the runtime's collected heap, used by a goroutine.

mod collected;

use runtime::{Runtime, gc as library};

#[global_allocator]
static ALLOCATOR: runtime::Alloc = runtime::Alloc::new();

fn main() {
    let request = bench_gc::request("ours");
    let runtime = Runtime::builder().procs(2).build().expect("a runtime can be made");
    runtime.run(|| bench_gc::run(&request, &collected::Collected(library::heap().clone())));
}
