//! [`Options`]: what the builder chose, on its way to the core.

use super::Report;
use crate::{
    boxed::try_box,
    pacer::{Gogc, Pacer},
    policy::{Collection, WriteBarrier},
    space::Exhausted,
};
use std::fmt;

/// What the builder chose. What it found no memory for is refused when the heap begins.
pub(crate) struct Options {
    /// None: the usual one.
    pub(crate) pacer: Result<Option<Box<dyn Pacer>>, Exhausted>,
    pub(crate) collection: Collection,
    pub(crate) write_barrier: WriteBarrier,
    pub(crate) slice: usize,
    pub(crate) checkmark: bool,
    pub(crate) report: Result<Option<Report>, Exhausted>,
}

/// The pacer, once it is known that it is wanted.
pub(super) fn pacer(chosen: Option<Box<dyn Pacer>>) -> Result<Box<dyn Pacer>, Exhausted> {
    let usual = || Ok(try_box(Gogc::new(100)).map_err(|_| Exhausted)? as _);
    chosen.map_or_else(usual, Ok)
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pacer: Ok(None),
            collection: Collection::default(),
            write_barrier: WriteBarrier::default(),
            slice: 1024,
            checkmark: false,
            report: Ok(None),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("collection", &self.collection)
            .field("write_barrier", &self.write_barrier)
            .field("slice", &self.slice)
            .field("checkmark", &self.checkmark)
            .finish_non_exhaustive()
    }
}
