//! jemalloc 5, as tikv-jemallocator builds it by default.

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    bench_alloc::main("jemalloc");
}
