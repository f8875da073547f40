//! The mechanism without a scheduler: contexts driven by hand, on threads of the test's choice.
//!
//! What holds must hold in both modes, so most tests run twice.

mod alone;
mod context;
mod driver;
mod held;
mod inside;
mod libc_threads;
mod preempt;
mod relay;
mod stacks;
mod threads;
