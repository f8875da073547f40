//! x
use crate::{Config, error::Error, machine::Machine, scheduler::Shared};
pub(crate) fn install(_config: &Config) -> Result<(), Error> {
    Ok(())
}
pub(crate) fn thread() {}
pub(crate) fn signal(_shared: &Shared, _m: &Machine) {}
