//! Where a runtime's settings come from: the code, then the environment, then the machine.

mod env;
mod procs;

pub(crate) use env::{Environment, Preempt};
pub(crate) use procs::default_procs;
