//! Holes in spans that no cache has.
//!
//! A live span's vacant pages go back (see [`holes`](crate::holes)) when nothing was freed into it for the
//! policy's age, or longer where the class has regretted it ([`Thrift`](super::Thrift)). Whoever makes
//! holes holds the span alone, so it is taken out of its central for that time:
//!
//! ```text
//!   scavenger                                    others
//!   central { take out; Remote: → owned }        a cache takes other spans
//!   collect; madvise, no lock held               push: onto the remote list, as to any owner
//!   page heap { account of holes }
//!   central { Remote: → listed; at the back }    a cache may claim it, with its holes
//! ```
//!
//! Other caches miss one span of the class at a time, for some microseconds. Several threads may do this at
//! once, as by `release` or at a limit: each takes spans out of its own.
//!
//! Spans with holes lie at the back of the list, so caches take them last.

use core::ptr::NonNull;

use crate::{
    Error, Heap,
    central::Quiet,
    holes,
    owned::{collect, free_cells},
    pages::{PageSource, page_shift},
    size_class::CLASSES,
    span::SpanPtr,
};

/// What a walk over all centrals has done.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Bytes given back.
    pub(super) bytes: usize,
    /// Spans that were left alone for too short a time so far.
    pub(super) ripening: usize,
}

impl<S: PageSource> Heap<S> {
    /// Makes about `want` bytes of holes in spans that were left alone for `age` steps.
    pub(super) fn release_holes(&self, want: usize, age: u8) -> Walk {
        let mut walk = Walk::default();
        for class in 0..CLASSES {
            if walk.bytes >= want {
                break;
            }
            self.walk_class(class, want, age, &mut walk);
        }
        walk
    }

    fn walk_class(&self, class: usize, want: usize, age: u8, walk: &mut Walk) {
        let central = self.central(class);
        let steps = central.begin_walk(age);
        while walk.bytes < want {
            match central.next_quiet(steps) {
                Quiet::Taken(span) => {
                    let given = self.make_holes(span);
                    walk.bytes += given;
                    self.put_aside(span, class, given);
                }
                Quiet::More(ripening) => walk.ripening += ripening,
                Quiet::End(ripening) => {
                    walk.ripening += ripening;
                    return;
                }
            }
        }
    }

    /// Gives the vacant pages of a span back that is the caller's; returns how many bytes.
    fn make_holes(&self, span: SpanPtr) -> usize {
        let given = holes::discard(span, page_shift(), |range| {
            let Some(at) = NonNull::new(range.start as *mut u8) else { return false };
            self.counters.releases.add(1);
            // SAFETY: vacant pages of a span that we hold alone: nobody needs what is in them.
            unsafe { self.source().decommit(at, range.len()) }
        });
        if given > 0 {
            self.pages().pool.open(given);
        }
        given
    }

    /// Hands a span back that the scavenger had.
    fn put_aside(&self, span: SpanPtr, class: usize, given: usize) {
        let free = if span.used.get() == 0 {
            Some(span)
        } else {
            self.central(class).shelve(span, class, given)
        };
        if let Some(span) = free {
            self.free_span(span);
        }
    }

    /// True if the owner of `span`, the caller, can take a cell of it, if need be out of a hole.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] if a hole would have to be filled beyond the limit.
    pub(crate) fn has_cells(&self, span: SpanPtr) -> Result<bool, Error> {
        if free_cells(span) > 0 || collect(span) {
            return Ok(true);
        }
        holes::recall(span, page_shift(), |bytes| {
            self.within_limit(bytes.div_ceil(crate::size_class::PAGE), || {
                self.pages().fill(&self.parts(), bytes)
            })?;
            self.central(span.class()).recalled.add(bytes);
            Ok(())
        })
    }
}
