//! [`Options`]: what the builder chose, on its way to the core.

use super::Report;
use crate::{
    pacer::{Gogc, Pacer},
    policy::{Collection, WriteBarrier},
};
use std::fmt;

/// What the builder chose.
pub(crate) struct Options {
    pub(crate) pacer: Box<dyn Pacer>,
    pub(crate) collection: Collection,
    pub(crate) write_barrier: WriteBarrier,
    pub(crate) slice: usize,
    pub(crate) checkmark: bool,
    pub(crate) report: Option<Report>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pacer: Box::new(Gogc::new(100)),
            collection: Collection::default(),
            write_barrier: WriteBarrier::default(),
            slice: 1024,
            checkmark: false,
            report: None,
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
