//! A doubly linked list of spans, through the links of the records.
//!
//! A list belongs to one cache or lies behind one lock; that owner alone touches the links of the
//! spans on it. A span is on one list at most.

use crate::span::SpanPtr;

/// Spans in the order in which they were pushed.
#[derive(Debug, Default)]
pub(crate) struct SpanList {
    first: Option<SpanPtr>,
    last: Option<SpanPtr>,
    len: usize,
}

impl SpanList {
    pub(crate) const fn new() -> Self {
        SpanList { first: None, last: None, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The span that was pushed to the front last.
    pub(crate) fn first(&self) -> Option<SpanPtr> {
        self.first
    }

    pub(crate) fn push_front(&mut self, span: SpanPtr) {
        span.prev.set(None);
        span.next.set(self.first);
        match self.first.replace(span) {
            Some(second) => second.prev.set(Some(span)),
            None => self.last = Some(span),
        }
        self.len += 1;
    }

    pub(crate) fn push_back(&mut self, span: SpanPtr) {
        span.next.set(None);
        span.prev.set(self.last);
        match self.last.replace(span) {
            Some(before) => before.next.set(Some(span)),
            None => self.first = Some(span),
        }
        self.len += 1;
    }

    pub(crate) fn pop_front(&mut self) -> Option<SpanPtr> {
        self.first.inspect(|&span| self.remove(span))
    }

    pub(crate) fn pop_back(&mut self) -> Option<SpanPtr> {
        self.last.inspect(|&span| self.remove(span))
    }

    /// Takes out a span that is on this list.
    pub(crate) fn remove(&mut self, span: SpanPtr) {
        let (prev, next) = (span.prev.take(), span.next.take());
        match prev {
            Some(prev) => prev.next.set(next),
            None => self.first = next,
        }
        match next {
            Some(next) => next.prev.set(prev),
            None => self.last = prev,
        }
        self.len -= 1;
    }
}
