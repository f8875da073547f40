//! mimalloc 2, by the same crate with its feature `v2`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    bench_alloc::main("mimalloc2");
}
