//! Where a runtime's settings come from: the code, then the environment, then the machine.

mod env;
mod procs;
mod settings;

pub(crate) use self::procs::Cores;
pub(crate) use env::Preempt;
use env::{Environment, Ignored, procs};
pub(crate) use settings::{Collecting, Settings};
