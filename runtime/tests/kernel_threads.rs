//! The promises of goroutines with a kernel thread each.

mod promises;

const KERNEL_THREADS: bool = true;
