//! Where a runtime's settings come from: the code, then the environment, then the machine.

mod env;
mod procs;

pub(crate) use self::procs::default_procs;
pub(crate) use env::{Environment, Ignored, Preempt, procs};
