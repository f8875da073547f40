//! The skip list of `gc-core/examples/ordered_map.rs`.

use bench_gc::Mutators;
use bench_gc::maps::OrderedMap;

use crate::library::{Heap, Root};

#[path = "../../../gc-core/examples/ordered_map.rs"]
#[expect(dead_code, reason = "as an example it has a test of its own")]
mod map;

/// The list, and its heap.
pub(crate) struct Ordered {
    heap: Heap,
    map: Root<map::Map<'static>>,
}

impl Ordered {
    pub(crate) fn new(heap: Heap) -> Self {
        let guard = heap.enter();
        let map = guard.root(map::Map::new(&guard));
        drop(guard);
        Self { heap, map }
    }
}

impl Mutators for Ordered {
    fn mutate(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        crate::mutate(count, work);
    }
}

impl OrderedMap for Ordered {
    fn insert(&self, key: u64, value: u64) {
        let guard = self.heap.enter();
        self.map.get(&guard).get().insert(&guard, key, value);
    }

    fn remove(&self, key: u64) -> bool {
        let guard = self.heap.enter();
        self.map.get(&guard).get().remove(&guard, key).is_some()
    }

    fn get(&self, key: u64) -> Option<u64> {
        let guard = self.heap.enter();
        self.map.get(&guard).get().get(&guard, key)
    }
}
