//! A doubly linked list through the links of its records: of spans, and of the parts of collected spans.
//!
//! A list belongs to one cache or lies behind one lock; that owner alone touches the links of the
//! records on it. A record is on one list at most.
//!
//! All operations take constant time, and none needs memory.

use core::cell::Cell;

/// A pointer to a record with links for one list at a time.
pub(crate) trait Listed: Copy {
    /// The record before, towards the front.
    fn prev(&self) -> &Cell<Option<Self>>;
    /// The record behind.
    fn next(&self) -> &Cell<Option<Self>>;
}

/// Records in the order in which they were pushed.
#[derive(Debug)]
pub(crate) struct List<P> {
    first: Option<P>,
    last: Option<P>,
    len: usize,
}

impl<P> List<P> {
    pub(crate) const EMPTY: Self = List { first: None, last: None, len: 0 };

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<P: Listed> List<P> {
    /// The record that was pushed to the front last.
    pub(crate) fn first(&self) -> Option<P> {
        self.first
    }

    pub(crate) fn push_front(&mut self, record: P) {
        record.prev().set(None);
        record.next().set(self.first);
        match self.first.replace(record) {
            Some(second) => second.prev().set(Some(record)),
            None => self.last = Some(record),
        }
        self.len += 1;
    }

    pub(crate) fn push_back(&mut self, record: P) {
        record.next().set(None);
        record.prev().set(self.last);
        match self.last.replace(record) {
            Some(before) => before.next().set(Some(record)),
            None => self.first = Some(record),
        }
        self.len += 1;
    }

    pub(crate) fn pop_front(&mut self) -> Option<P> {
        self.first.inspect(|&record| self.remove(record))
    }

    pub(crate) fn pop_back(&mut self) -> Option<P> {
        self.last.inspect(|&record| self.remove(record))
    }

    /// Takes out a record that is on this list.
    pub(crate) fn remove(&mut self, record: P) {
        let (prev, next) = (record.prev().take(), record.next().take());
        match prev {
            Some(prev) => prev.next().set(next),
            None => self.first = next,
        }
        match next {
            Some(next) => next.prev().set(prev),
            None => self.last = prev,
        }
        self.len -= 1;
    }

    /// Moves all of `other` to the end.
    pub(crate) fn append(&mut self, other: &mut Self) {
        let Some(first) = other.first.take() else { return };
        first.prev().set(self.last);
        match self.last {
            Some(last) => last.next().set(Some(first)),
            None => self.first = Some(first),
        }
        self.last = other.last.take();
        self.len += core::mem::take(&mut other.len);
    }

    /// The records from the front on.
    pub(crate) fn iter(&self) -> impl Iterator<Item = P> {
        core::iter::successors(self.first, |record| record.next().get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{boxed::Box, collections::VecDeque, vec::Vec};

    struct Record {
        number: usize,
        prev: Cell<Option<&'static Record>>,
        next: Cell<Option<&'static Record>>,
    }

    impl Listed for &'static Record {
        fn prev(&self) -> &Cell<Option<Self>> {
            &self.prev
        }

        fn next(&self) -> &Cell<Option<Self>> {
            &self.next
        }
    }

    fn record(number: usize) -> &'static Record {
        Box::leak(Box::new(Record { number, prev: Cell::new(None), next: Cell::new(None) }))
    }

    /// Both directions tell the same as `model`.
    fn check(list: &List<&'static Record>, model: &VecDeque<&'static Record>) {
        let forward: Vec<_> = list.iter().map(|record| record.number).collect();
        let back = core::iter::successors(list.last, |record| record.prev.get());
        let mut back: Vec<_> = back.map(|record| record.number).collect();
        back.reverse();
        let model: Vec<_> = model.iter().map(|record| record.number).collect();
        assert_eq!((&forward, &back, list.len()), (&model, &model, model.len()));
        assert_eq!(list.is_empty(), model.is_empty());
    }

    #[test]
    fn a_list_does_what_a_deque_does() {
        let records: Vec<_> = (0..8).map(record).collect();
        let (mut list, mut model) = (List::EMPTY, VecDeque::new());
        let (mut other, mut other_model) = (List::EMPTY, VecDeque::new());
        let mut random = 1_u64;
        for _ in 0..5_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let pick = records[(random >> 40) as usize % records.len()];
            let at = |model: &VecDeque<&Record>| model.iter().position(|r| r.number == pick.number);
            let elsewhere = at(&other_model).is_some();
            match ((random >> 60) % 8, at(&model)) {
                (0 | 1, None) if !elsewhere => {
                    list.push_front(pick);
                    model.push_front(pick);
                }
                (2 | 3, None) if !elsewhere => {
                    list.push_back(pick);
                    model.push_back(pick);
                }
                (0..4, None) => {}
                (0..4, Some(place)) => {
                    list.remove(pick);
                    model.remove(place);
                    other.push_back(pick);
                    other_model.push_back(pick);
                }
                (4, _) => {
                    assert_eq!(
                        list.pop_front().map(|r| r.number),
                        model.pop_front().map(|r| r.number)
                    );
                }
                (5, _) => {
                    assert_eq!(
                        list.pop_back().map(|r| r.number),
                        model.pop_back().map(|r| r.number)
                    );
                }
                _ => {
                    list.append(&mut other);
                    model.append(&mut other_model);
                }
            }
            check(&list, &model);
            check(&other, &other_model);
        }
    }
}
