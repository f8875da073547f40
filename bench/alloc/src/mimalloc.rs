//! mimalloc 3, as its crate builds it by default.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

unsafe extern "C" {
    fn mi_collect(force: bool);
}

fn main() {
    // SAFETY: the call has no preconditions.
    bench_alloc::main("mimalloc", Some(|| unsafe { mi_collect(true) }));
}
