//! snmalloc, as its crate builds it.

#[global_allocator]
static ALLOCATOR: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;

fn main() {
    bench_alloc::main("snmalloc", None);
}
