//! A policy as a value: what a configuration names, and what is installed when it is.

use core::fmt;
use std::sync::Arc;

use crate::task::runnable::Runnable;

use super::{
    Gmp, Policy,
    board::{Installed, install},
};

/// A policy, chosen: a value for configurations.
///
/// ```
/// use sched_core::policy::{Chosen, Gmp, GlobalFifo};
/// assert_eq!(format!("{:?}", Chosen::default()), "Gmp");
/// assert_eq!(format!("{:?}", Chosen::new(GlobalFifo)), "GlobalFifo");
/// ```
#[derive(Clone)]
pub struct Chosen(Arc<dyn Choice>);

impl Chosen {
    /// `policy` is chosen.
    pub fn new(policy: impl Policy) -> Self {
        Self(Arc::new(policy))
    }

    pub(crate) fn install(&self, room: usize) -> Installed<Runnable> {
        self.0.install(room)
    }
}

impl Default for Chosen {
    /// [`Gmp`].
    fn default() -> Self {
        Self::new(Gmp)
    }
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A policy of which one only knows that it is one.
trait Choice: fmt::Debug + Send + Sync {
    fn install(&self, room: usize) -> Installed<Runnable>;
}

impl<P: Policy> Choice for P {
    fn install(&self, room: usize) -> Installed<Runnable> {
        install(self, room)
    }
}
