//! Cells of one span that one thread frees together.
//!
//! Who frees many cells frees neighbours, mostly. So bits are gathered as long as they lie in one word of the
//! span's marks; when the next cell lies in another, those of the last one are *marked* by one
//! read-modify-write. What was marked is *counted* at the end, once: F1 for each word, then F2 (see
//! [`remote`](super)), however many cells there are.
//!
//! ```text
//!   add 1, 2      gathered: word 0, bits 1 and 2
//!   add 70        word 0 is marked; gathered: word 1, bit 6
//!   finish        word 1 is marked; count += 3
//! ```

use core::mem;

use super::{Freed, Remote};

/// Cells of one span that one thread frees together.
///
/// ```
/// use alloc_core::remote::{Batch, Freed, Remote};
/// let remote = Remote::new();
/// let mut batch = Batch::default();
/// [1, 2, 70].into_iter().for_each(|cell| batch.add(&remote, cell));
/// assert_eq!(batch.finish(&remote), Some(Freed::Queued));
/// assert_eq!(remote.snapshot().count(), 3);
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    /// Those that are not marked yet.
    neighbours: Neighbours,
    /// All cells so far.
    count: u32,
}

impl Batch {
    /// Adds a cell of the span, always the same one until [`Batch::finish`].
    #[inline]
    pub fn add(&mut self, remote: &Remote, cell: usize) {
        if let Some((word, bits)) = self.neighbours.add(cell) {
            remote.mark(word, bits);
        }
        self.count += 1;
    }

    /// Frees them, and begins anew; `None` if there are none.
    pub fn finish(&mut self, remote: &Remote) -> Option<Freed> {
        let (word, bits) = self.neighbours.take();
        let count = mem::take(&mut self.count);
        (count > 0).then(|| {
            remote.mark(word, bits);
            remote.count(count)
        })
    }
}

/// Cells of one span whose bits lie in one word.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    word: usize,
    bits: u64,
}

impl Neighbours {
    /// Adds a cell. If it is none of their neighbours, gives those that there were, as bits of a word.
    #[inline]
    pub(crate) fn add(&mut self, cell: usize) -> Option<(usize, u64)> {
        let (word, bit) = (cell / 64, 1 << (cell % 64));
        if word == self.word {
            debug_assert_eq!(self.bits & bit, 0, "cell {cell} was freed twice");
            self.bits |= bit;
            return None;
        }
        let before = mem::replace(self, Neighbours { word, bits: bit });
        (before.bits != 0).then_some((before.word, before.bits))
    }

    /// Gives those that there are, which may be none.
    pub(crate) fn take(&mut self) -> (usize, u64) {
        (self.word, mem::take(&mut self.bits))
    }
}
