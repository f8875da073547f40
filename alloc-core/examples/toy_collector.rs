//! A tracing collector in a hundred lines, on collected spans.
//!
//! The heap gives a language implementer what is tedious: cells of one type in spans, mark bits, the way
//! from any pointer to its cell, and a lazy sweep. Roots, edges and when to collect stay with the
//! language. This one knows pairs, as Lisp does, and stops its one thread to mark. (Several threads, write
//! barriers and guards are gc-core's business, which stands on the same spans.)
//!
//! `cargo run -p alloc-core --example toy_collector`

use std::ptr::{self, NonNull};

use alloc_core::{
    Error, Heap,
    managed::{ClassRef, ClassSpec, ManagedCache},
    pages::os::Os,
};

/// A cell of the language: a number, and two edges that may be null.
#[repr(C)]
struct Pair {
    value: u64,
    first: *mut Pair,
    second: *mut Pair,
}

struct Collector<'h> {
    heap: &'h Heap<Os>,
    class: ClassRef<'h>,
    cache: ManagedCache<'h, Os>,
    cycle: u64,
    roots: Vec<*mut Pair>,
}

impl<'h> Collector<'h> {
    fn new(heap: &'h Heap<Os>) -> Result<Self, Error> {
        let spec = ClassSpec { size: size_of::<Pair>(), align: 8, drop: false, owner: 0 };
        let class = heap.class(spec)?;
        Ok(Collector { heap, class, cache: heap.managed_cache(), cycle: 0, roots: Vec::new() })
    }

    fn pair(
        &mut self,
        value: u64,
        first: *mut Pair,
        second: *mut Pair,
    ) -> Result<*mut Pair, Error> {
        // SAFETY: this is the cycle that the heap is in, as one thread drives it.
        let cell = unsafe { self.cache.take(self.class, self.cycle) }?.cell.cast::<Pair>();
        // SAFETY: a fresh cell of that size.
        unsafe { cell.write(Pair { value, first, second }) };
        Ok(cell.as_ptr())
    }

    /// A list of the numbers, the last first.
    fn list(&mut self, values: impl Iterator<Item = u64>) -> Result<*mut Pair, Error> {
        let mut list = ptr::null_mut();
        for value in values {
            list = self.pair(value, list, ptr::null_mut())?;
        }
        Ok(list)
    }

    /// Marks what the roots reach and frees all the rest; returns how many pairs live.
    fn collect(&mut self) -> usize {
        let (mut grey, mut live) = (self.roots.clone(), 0);
        while let Some(at) = grey.pop() {
            let Some(pair) = NonNull::new(at) else { continue };
            // SAFETY: roots and edges lead to cells that were not swept.
            let cell =
                unsafe { self.heap.find(pair.as_ptr() as usize) }.expect("an edge to a cell");
            if cell.mark() {
                live += 1;
                // SAFETY: the cell holds a pair, and nobody writes to it now.
                let pair = unsafe { pair.as_ref() };
                grey.extend([pair.first, pair.second]);
            }
        }
        self.cycle += 1;
        // SAFETY: the one thread drives the cycles, marks no more, and takes for the new cycle.
        unsafe {
            self.heap.begin_cycle(self.cycle);
            self.heap.permit_sweep();
        }
        while !self.heap.sweep(64) {}
        live
    }
}

fn sum(mut list: *const Pair) -> u64 {
    let mut sum = 0;
    // SAFETY: the list is reached from a root, so its pairs live.
    while let Some(pair) = unsafe { list.as_ref() } {
        sum += pair.value;
        list = pair.first;
    }
    sum
}

pub(crate) fn main() -> Result<(), Error> {
    let heap = Heap::new(Os::new());
    let mut lisp = Collector::new(&heap)?;
    let kept = lisp.list(0..10_000)?;
    // A ring: reference counts would never free it.
    let end = lisp.pair(1, ptr::null_mut(), ptr::null_mut())?;
    let ring = lisp.pair(2, end, kept)?;
    // SAFETY: `end` was allocated above, and nobody else uses it.
    unsafe { (*end).first = ring };
    lisp.roots = vec![ring];
    for round in 1..=5 {
        lisp.list(0..100_000)?;
        let (before, live) = (heap.stats().managed, lisp.collect());
        let after = heap.stats().managed;
        println!("round {round}: {live} pairs live, {} KiB → {} KiB", before >> 10, after >> 10);
        assert_eq!((live, sum(kept)), (10_002, 49_995_000));
        assert!(after < before / 2);
    }
    lisp.roots.clear();
    assert_eq!(lisp.collect(), 0);
    assert_eq!(heap.stats().managed, 0, "without roots nothing is left, the ring neither");
    Ok(())
}
