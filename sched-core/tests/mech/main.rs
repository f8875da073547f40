//! The mechanism without a scheduler: contexts driven by hand, on threads of the test's choice.
//!
//! What holds must hold in both modes, so most tests run twice.

mod driver;
mod preempt;
mod threads;
