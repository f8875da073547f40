//! The C library's malloc, which is what a Rust program gets if it says nothing.

fn release() {
    // SAFETY: the call has no preconditions.
    unsafe { libc::malloc_trim(0) };
}

fn main() {
    bench_alloc::main("system", Some(release));
}
