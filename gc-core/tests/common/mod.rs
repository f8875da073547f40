//! What the tests of the collector share.

use gc_core::{Heap, Tag, space::blocks::Blocks, world::threads::Threads};

/// A heap that marks twice in each cycle, compares, and poisons what is freed.
pub(crate) fn checked<H: Tag<Space = Blocks, World = Threads>>() -> Heap<H> {
    let heap = Heap::builder().checkmark(true);
    heap.build(Blocks::poisoned(), Threads::new()).expect("a tag for each test")
}
