//! mimalloc 2, by the same crate with its feature `v2`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

unsafe extern "C" {
    fn mi_collect(force: bool);
}

fn main() {
    // SAFETY: the call has no preconditions.
    bench_alloc::main("mimalloc2", Some(|| unsafe { mi_collect(true) }));
}
