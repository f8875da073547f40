//! A list that links what is in it, and so never allocates.
//!
//! Queues are filled inside the runtime, where no allocator is called. So each target of a handle
//! carries the [`Link`] that the list needs. A target stands in one list at a time.

use core::fmt;
use core::ptr::NonNull;

use super::Handle;
use crate::sync::{UnsafeCell, const_unless_loom};

/// The link that a target keeps for the queue it stands in.
pub struct Link<T> {
    next: UnsafeCell<Option<NonNull<T>>>,
    /// Where its turn is, in the queue's own measure.
    due: UnsafeCell<u64>,
}

// SAFETY: a link is touched by the queue's lock holder only, or by the owner of a private list.
unsafe impl<T> Send for Link<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Link<T> {}

impl<T> Link<T> {
    const_unless_loom! {
        /// A link that leads nowhere.
        pub const fn new() -> Self {
            Self { next: UnsafeCell::new(None), due: UnsafeCell::new(0) }
        }
    }
}

impl<T> Default for Link<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

/// A handle whose target carries a [`Link`].
///
/// # Safety
///
/// 1. `link` always gives the same place of the same target, and nobody but this module uses it.
/// 2. A target has one handle: there is no second as long as one exists, or what `into_raw` gave for it. (A newtype
///    over `Arc` of which there may be clones breaks this: two of them in one list close the chain to a ring, and
///    each is taken from it for ever.)
pub unsafe trait Linked: Handle {
    /// The link inside `target`.
    fn link(target: &Self::Target) -> &Link<Self::Target>;
}

/// The first and the last of a chain.
type Ends<T> = (NonNull<T>, NonNull<T>);

/// A list of handles, first in first out, linked through their targets.
///
/// It is what the queue is made of, and what a batch comes as. Dropping it drops what is in it.
pub struct List<H: Linked> {
    /// The chain from the first to the last; the last one's link leads nowhere.
    ends: Option<Ends<H::Target>>,
    len: usize,
}

// SAFETY: a list owns its handles, which are Send.
unsafe impl<H: Linked> Send for List<H> {}

impl<H: Linked> List<H> {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { ends: None, len: 0 }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `item` at the end.
    pub fn push(&mut self, item: H) {
        let raw = item.into_raw();
        set_link::<H>(raw, None);
        self.append_chain(raw, raw, 1);
    }

    /// Puts `item` at the end and notes where its turn is, in a measure of the caller's.
    pub fn push_due(&mut self, item: H, due: u64) {
        let raw = item.into_raw();
        // SAFETY: a handle's target is alive (rule 2 of `Handle`), and this one is the list's.
        let link = H::link(unsafe { raw.as_ref() });
        // SAFETY: as in `set_link`.
        link.due.with_mut(|place| unsafe { *place = due });
        set_link::<H>(raw, None);
        self.append_chain(raw, raw, 1);
    }

    /// What was noted of the first by [`push_due`](Self::push_due).
    pub fn first_due(&self) -> Option<u64> {
        let (first, _) = self.ends?;
        // SAFETY: as in `set_link`.
        let link = H::link(unsafe { first.as_ref() });
        // SAFETY: as in `set_link`.
        Some(link.due.with(|due| unsafe { *due }))
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<H> {
        let (first, last) = self.ends?;
        self.ends = get_link::<H>(first).map(|second| (second, last));
        self.len -= 1;
        // SAFETY: the list owns `first`, and has just let go of it.
        Some(unsafe { H::from_raw(first) })
    }

    /// Puts all of `other` at the end. O(1).
    pub fn append(&mut self, mut other: Self) {
        if let Some((first, last)) = other.ends.take() {
            self.append_chain(first, last, core::mem::take(&mut other.len));
        }
    }

    fn append_chain(&mut self, first: NonNull<H::Target>, last: NonNull<H::Target>, n: usize) {
        self.ends = match self.ends {
            None => Some((first, last)),
            Some((front, back)) => {
                set_link::<H>(back, Some(first));
                Some((front, last))
            }
        };
        self.len += n;
    }
}

fn set_link<H: Linked>(target: NonNull<H::Target>, next: Option<NonNull<H::Target>>) {
    // SAFETY: the caller's list owns the target, so it is alive (rule 2 of `Handle`).
    let link = H::link(unsafe { target.as_ref() });
    // SAFETY: the list's owner alone touches the links of its targets.
    link.next.with_mut(|link| unsafe { *link = next });
}

fn get_link<H: Linked>(target: NonNull<H::Target>) -> Option<NonNull<H::Target>> {
    // SAFETY: as in `set_link`.
    let link = H::link(unsafe { target.as_ref() });
    // SAFETY: as in `set_link`.
    link.next.with(|link| unsafe { *link })
}

impl<H: Linked> Iterator for List<H> {
    type Item = H;

    fn next(&mut self) -> Option<H> {
        self.pop()
    }
}

impl<H: Linked> Extend<H> for List<H> {
    fn extend<I: IntoIterator<Item = H>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

impl<H: Linked> FromIterator<H> for List<H> {
    fn from_iter<I: IntoIterator<Item = H>>(items: I) -> Self {
        let mut list = Self::new();
        list.extend(items);
        list
    }
}

impl<H: Linked> Drop for List<H> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

impl<H: Linked> Default for List<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Linked> fmt::Debug for List<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("len", &self.len).finish_non_exhaustive()
    }
}
