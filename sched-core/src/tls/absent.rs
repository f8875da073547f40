//! Targets without own TLS: the names of `own`, without a value.

use super::Surplus;

/// What the probes found: there is nothing of the kind on this target.
#[derive(Clone, Copy, Debug)]
pub enum Layout {}

pub(crate) fn probe(_surplus: Surplus) -> Result<Layout, &'static str> {
    Err("own TLS exists with a dynamic glibc only")
}

impl Layout {
    pub(crate) fn running_thread_pointer(&self) -> usize {
        match *self {}
    }
}
