//! The promises of goroutines with stack and TLS block of their own, where the machine has it.

mod promises;

const KERNEL_THREADS: bool = false;
