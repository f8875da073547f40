//! mimalloc 3, as its crate builds it by default.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    bench_alloc::main("mimalloc");
}
