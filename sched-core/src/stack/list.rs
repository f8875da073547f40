//! Lists of slots, threaded through their records.
//!
//! Records that nobody has used for a while lie in no cache, and each is known by the one before alone: to walk past
//! eight of them is to wait for memory eight times, under the stock's lock. But slots come in by shelves and go out by
//! shelves. So those that came in together, a *bundle*, go out together, by what the first of them knows:
//!
//! ```text
//!   head ──▶ ■ ──▶ □ ──▶ □ ──▶ ■ ──▶ □ ──▶ □ ──▶ …        ■: the first of a bundle
//!            │           ▲     ▲
//!            └─ last ────┘     │
//!             └─ behind ───────┘
//! ```
//!
//! Who takes slots one by one leaves the rest of a bundle without its first; that rest is walked once, up to the next
//! bundle.

use core::ptr::{NonNull, null_mut};

use super::slot::Record;
use crate::sync::prefetch;

/// A list of slots through their records. Its methods are called under the stock's lock, or by the
/// holder of the P on whose shelf the list lies.
#[derive(Debug)]
pub(super) struct List {
    /// The first; means nothing in an empty list, as does the last. What the last one's link is, neither.
    head: *mut Record,
    tail: *mut Record,
    pub(super) length: usize,
}

/// Slots that came into a list together, by the first of them.
#[derive(Clone, Copy)]
pub(super) struct Bundle {
    last: *mut Record,
    length: usize,
    /// Who was the first before.
    behind: *mut Record,
}

// SAFETY: the list owns the slots on it.
unsafe impl Send for List {}

impl List {
    pub(super) const fn new() -> List {
        List { head: null_mut(), tail: null_mut(), length: 0 }
    }

    pub(super) fn push(&mut self, record: NonNull<Record>) {
        if self.length == 0 {
            self.tail = record.as_ptr();
        }
        // SAFETY: the caller hands the slot over, so link and bundle are the list's.
        unsafe {
            *record.as_ref().next.get() = self.head;
            *record.as_ref().bundle.get() = None;
        }
        self.head = record.as_ptr();
        self.length += 1;
    }

    pub(super) fn pop(&mut self) -> Option<NonNull<Record>> {
        let first = self.first()?;
        // SAFETY: a slot on the list is the list's.
        self.head = unsafe { *first.as_ref().next.get() };
        self.length -= 1;
        Some(first)
    }

    fn first(&self) -> Option<NonNull<Record>> {
        NonNull::new(self.head).filter(|_| self.length > 0)
    }

    /// Asks memory for the first record.
    pub(super) fn prefetch(&self) {
        if self.length > 0 {
            prefetch(self.head.addr());
        }
    }

    /// Up to `most` from the front, in their order: what came in together, with one look at the first, or else all up to
    /// the next that did.
    pub(super) fn take_front(&mut self, most: usize) -> List {
        let Some(first) = self.first() else { return List::new() };
        // SAFETY: a slot on the list is the list's.
        let bundle = unsafe { *first.as_ref().bundle.get() };
        let Bundle { last, length, behind } = match bundle {
            Some(bundle) if bundle.length <= most => bundle,
            _ => self.walk(first, most.min(self.length)),
        };
        let front = List { head: self.head, tail: last, length };
        self.head = behind;
        self.length -= length;
        front
    }

    /// The first `most`, or less if others are the first of what came in together.
    fn walk(&self, first: NonNull<Record>, most: usize) -> Bundle {
        // SAFETY: a slot on the list is the list's, and `most` of them follow each other.
        let follow = |record: *mut Record| unsafe { *(*record).next.get() };
        // SAFETY: as above.
        let begins = |record: *mut Record| unsafe { (*(*record).bundle.get()).is_some() };
        let first = first.as_ptr();
        let mut walked = Bundle { last: first, length: 1, behind: follow(first) };
        while walked.length < most && !begins(walked.behind) {
            walked.last = walked.behind;
            walked.behind = follow(walked.last);
            walked.length += 1;
        }
        walked
    }

    /// Puts all of `other` in front. Touches two records of it, however many there are.
    pub(super) fn prepend(&mut self, other: List) {
        let Some(first) = other.first() else { return };
        if self.length == 0 {
            self.tail = other.tail;
        }
        let bundle = Bundle { last: other.tail, length: other.length, behind: self.head };
        // SAFETY: slots on the list are the list's.
        unsafe {
            *(*other.tail).next.get() = self.head;
            *first.as_ref().bundle.get() = Some(bundle);
        }
        self.head = other.head;
        self.length += other.length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use proptest::{collection::vec, prelude::*};
    use std::collections::VecDeque;

    /// What one step does with a stock and a shelf.
    #[derive(Clone, Debug)]
    enum Step {
        /// The first of the stock goes to the shelf, or the other way.
        Take,
        Give,
        /// Some of the stock go to an empty shelf, or all of the shelf to the stock.
        Fill(usize),
        Clear,
        /// All of the stock go before a list of older ones, which is the stock from then on.
        Age,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Take),
            3 => Just(Step::Give),
            4 => (1..10usize).prop_map(Step::Fill),
            4 => Just(Step::Clear),
            1 => Just(Step::Age),
        ]
    }

    /// A list beside what it should hold.
    struct Both(List, VecDeque<NonNull<Record>>);

    impl Both {
        fn new() -> Self {
            Both(List::new(), VecDeque::new())
        }

        fn push(&mut self, record: NonNull<Record>) {
            self.0.push(record);
            self.1.push_front(record);
        }

        fn pop(&mut self) -> Option<NonNull<Record>> {
            let popped = self.0.pop();
            assert_eq!(popped, self.1.pop_front());
            popped
        }

        fn prepend(&mut self, other: Both) {
            self.0.prepend(other.0);
            other.1.into_iter().rev().for_each(|record| self.1.push_front(record));
        }

        fn take_front(&mut self, most: usize) -> Both {
            let (before, front) = (self.0.length, self.0.take_front(most));
            assert!(front.length <= most && (front.length > 0 || before == 0));
            let expected = self.1.drain(..front.length).collect();
            assert_eq!(self.0.length, self.1.len());
            Both(front, expected)
        }
    }

    proptest! {
        #[test]
        fn a_list_is_a_stack_whose_front_can_be_cut(steps in vec(step(), 0..300)) {
            let record = || Box::new(Record::new(Context::of_future_thread(), 0..0));
            let mut records: Vec<_> = (0..40).map(|_| record()).collect();
            let (mut stock, mut shelf) = (Both::new(), Both::new());
            records.iter_mut().for_each(|record| stock.push(NonNull::from(&mut **record)));
            for step in steps {
                match step {
                    Step::Take => stock.pop().into_iter().for_each(|record| shelf.push(record)),
                    Step::Give => shelf.pop().into_iter().for_each(|record| stock.push(record)),
                    Step::Fill(most) if shelf.0.length == 0 => shelf = stock.take_front(most),
                    Step::Fill(_) => {}
                    Step::Clear => stock.prepend(std::mem::replace(&mut shelf, Both::new())),
                    Step::Age => {
                        let mut older = Both::new();
                        older.prepend(std::mem::replace(&mut stock, Both::new()));
                        stock = older;
                    }
                }
            }
            stock.prepend(shelf);
            while stock.pop().is_some() {}
            prop_assert_eq!(stock.0.length, 0);
        }
    }

    #[test]
    fn what_came_in_together_goes_out_together() {
        let mut records: Vec<_> =
            (0..12).map(|_| Box::new(Record::new(Context::of_future_thread(), 0..0))).collect();
        let mut stock = List::new();
        for bundle in records.chunks_mut(4) {
            let mut shelf = List::new();
            bundle.iter_mut().for_each(|record| shelf.push(NonNull::from(&mut **record)));
            stock.prepend(shelf);
        }
        assert!(stock.pop().is_some());
        // The rest of the first, and then whole ones.
        let lengths = [8, 8, 8, 8].map(|most| stock.take_front(most).length);
        assert_eq!(lengths, [3, 4, 4, 0]);
    }
}
