//! A cache of weak pointers, and values that its users keep.

use bench_gc::maps::{Cache, PAGES, RECENT, WORDS};

use super::Collected;
use crate::library::{Gc, GcCell, Guard, Root, Slice, Trace, Weak};

#[derive(Trace)]
pub(crate) struct Page {
    words: [u64; WORDS],
}

pub(crate) type Pages<'g> = Slice<GcCell<'g, Weak<'g, Page>>>;

pub(crate) type Kept<'g> = Slice<GcCell<'g, Page>>;

/// A table with a place for each key.
pub(crate) fn table(guard: &Guard<'_>) -> Root<Pages<'static>> {
    guard.root(guard.alloc_slice((0..PAGES).map(|_| GcCell::<Weak<'_, Page>>::null())))
}

impl Cache for Collected {
    type Recent = Root<Kept<'static>>;

    fn recent(&self) -> Self::Recent {
        let guard = self.heap.enter();
        guard.root(guard.alloc_slice((0..RECENT).map(|_| GcCell::<Page>::null())))
    }

    fn look_up(&self, key: usize, recent: &mut Self::Recent, place: usize) -> bool {
        let guard = self.heap.enter();
        let slot = &self.pages.get(&guard).as_slice()[key];
        let found = slot.load().and_then(|weak| weak.get().upgrade(&guard));
        let page: Gc<'_, Page> = found.unwrap_or_else(|| {
            let mut words = [0; WORDS];
            words[0] = key as u64;
            let page = guard.alloc(Page { words });
            slot.set(&guard, Some(guard.downgrade(page)));
            page
        });
        assert_eq!(page.words[0], key as u64);
        recent.get(&guard).as_slice()[place].set(&guard, Some(page));
        found.is_some()
    }
}
