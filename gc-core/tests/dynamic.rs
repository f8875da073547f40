//! Trait objects and strings in the heap.

use gc_core::{
    Gc, GcCell, GcMutex, Heap, Root, Str, Trace, rebind_dyn, space::blocks::Blocks, unsize,
    world::threads::Threads,
};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

gc_core::tag! { struct Dyn; }

trait Shape<'g>: Trace<Dyn> {
    fn area(&self) -> u64;
    fn inner(&self) -> Option<Gc<'g, dyn Shape<'g> + 'g, Dyn>>;
}
rebind_dyn!(Shape<'_>);

type AnyShape<'g> = Gc<'g, dyn Shape<'g> + 'g, Dyn>;

#[derive(Trace)]
#[trace(heap = Dyn)]
struct Square(u64);

impl<'g> Shape<'g> for Square {
    fn area(&self) -> u64 {
        self.0 * self.0
    }

    fn inner(&self) -> Option<AnyShape<'g>> {
        None
    }
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Trace)]
#[trace(heap = Dyn)]
struct Framed<'g> {
    inner: AnyShape<'g>,
    width: GcCell<'g, u64, Dyn>,
    #[leaf]
    #[expect(dead_code, reason = "its destructor is what counts")]
    dropped: Dropped,
}

impl<'g> Shape<'g> for Framed<'g> {
    fn area(&self) -> u64 {
        self.inner.area() + self.width.load().map_or(0, |width| *width)
    }

    fn inner(&self) -> Option<AnyShape<'g>> {
        Some(self.inner)
    }
}

#[test]
fn a_trait_object_is_traced_rooted_and_dropped_as_what_it_is() {
    let heap = Heap::<Dyn>::builder().checkmark(true);
    let heap = heap.build(Blocks::poisoned(), Threads::new()).unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    let (root, list): (Root<dyn Shape<'static>, Dyn>, _) = {
        let guard = heap.enter();
        let square = unsize!(guard.alloc(Square(3)) => dyn Shape<'_>);
        let width = GcCell::new(Some(guard.alloc(100)));
        let framed = Framed { inner: square, width, dropped: Dropped(dropped.clone()) };
        let framed = unsize!(guard.alloc(framed) => dyn Shape<'_>);
        let list = guard.alloc(GcMutex::<Vec<AnyShape<'_>>, Dyn>::new(vec![square, framed]));
        (guard.root(framed), guard.root(list))
    };
    let copy = root.clone();
    drop(root);
    heap.collect().unwrap();
    {
        let guard = heap.enter();
        let framed = copy.get(&guard);
        assert_eq!((framed.area(), framed.inner().unwrap().area()), (109, 9));
        let areas: Vec<_> = list.get(&guard).lock(&guard).iter().map(|s| s.area()).collect();
        assert_eq!(areas, [9, 109]);
        assert!(list.get(&guard).lock(&guard)[1] == framed, "one object, one pointer");
    }
    drop((copy, list));
    heap.collect().unwrap();
    heap.run_destructors(usize::MAX);
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn strings_are_one_word_and_whole() {
    gc_core::tag! { struct Text; }
    let heap = Heap::<Text>::builder().checkmark(true);
    let heap = heap.build(Blocks::poisoned(), Threads::new()).unwrap();
    assert_eq!(size_of::<Gc<'_, Str, Text>>(), size_of::<usize>());
    let (empty, long, cell) = {
        let guard = heap.enter();
        let text = "grüß Gott ".repeat(1000);
        let cell = guard.alloc(GcCell::<Str, Text>::new(Some(guard.alloc_str("wort"))));
        (guard.root(guard.alloc_str("")), guard.root(guard.alloc_str(&text)), guard.root(cell))
    };
    heap.collect().unwrap();
    let guard = heap.enter();
    assert!(empty.get(&guard).is_empty() && empty.get(&guard).as_str().is_empty());
    assert_eq!(long.get(&guard).as_str(), "grüß Gott ".repeat(1000));
    assert_eq!(format!("{:>6}", cell.get(&guard).load().unwrap()), "  wort");
    drop(guard);

    let small = Heap::<Small>::builder().build(Blocks::with_limit(0), Threads::new()).unwrap();
    assert!(small.enter().try_alloc_str("no room").is_err());
}

gc_core::tag! { struct Small; }
