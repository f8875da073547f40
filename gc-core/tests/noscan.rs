//! The marker does not look into an object that can hold no edge, nor does checkmark.

mod common;

use common::checked;
use gc_core::{Gc, GcCell, Heap, Rebind, Root, Slice, Trace, trace::Tracer};
use std::sync::atomic::{AtomicUsize, Ordering};

gc_core::tag! { struct Opaque; }

/// How many values were looked into.
static LOOKS: AtomicUsize = AtomicUsize::new(0);

/// A value without edges that knows when somebody looks for some.
struct Sealed(u64);

// SAFETY: there is no edge; counting does not unwind.
unsafe impl Trace<Opaque> for Sealed {
    fn trace(&self, _: &mut Tracer) {
        LOOKS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: there is no edge and no lifetime.
unsafe impl Rebind for Sealed {
    type At<'a> = Sealed;
    const EDGES: bool = false;
}

/// As every type whose fields have none.
#[derive(Trace)]
#[trace(heap = Opaque)]
struct Page {
    first: Sealed,
    rest: [Option<Sealed>; 3],
}

#[derive(Trace)]
#[trace(heap = Opaque)]
struct Book<'g> {
    title: Sealed,
    pages: GcCell<'g, Slice<Sealed>, Opaque>,
    page: Gc<'g, Page, Opaque>,
}

#[test]
fn what_can_hold_no_edge_is_not_looked_into() {
    let heap: Heap<Opaque> = checked();
    let book: Root<Book<'static>, Opaque> = {
        let guard = heap.enter();
        let page = guard.alloc(Page { first: Sealed(1), rest: [Some(Sealed(2)), None, None] });
        // One in an ordinary span, and one that has its own.
        let pages = [10, 100_000].map(|length| guard.alloc_slice((0..length).map(Sealed)));
        let pages = GcCell::new(Some(pages[1]));
        guard.root(guard.alloc(Book { title: Sealed(3), pages, page }))
    };
    for cycle in 1..=2 {
        let marked = heap.collect().unwrap().marked_objects;
        // Once by the marker and once by checkmark, in an object that has edges beside it.
        assert_eq!((marked, LOOKS.load(Ordering::Relaxed)), (3, 2 * cycle));
    }
    let guard = heap.enter();
    let book = book.get(&guard).get();
    let pages = book.pages.load().expect("it is there");
    assert!(pages.as_slice().iter().zip(0..).all(|(page, number)| page.0 == number));
    let page = book.page.get();
    let rest = page.rest.iter().flatten().map(|sealed| sealed.0).sum::<u64>();
    assert_eq!((book.title.0, page.first.0, rest), (3, 1, 2));
}
