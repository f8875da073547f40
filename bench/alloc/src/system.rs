//! The C library's malloc, which is what a Rust program gets if it says nothing.

fn main() {
    bench_alloc::main("system");
}
