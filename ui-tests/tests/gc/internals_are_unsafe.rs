use gc_core::{
    Heap, Plain, engine::Engine, roots::Roots, space::blocks::Blocks, world::World,
};
use std::ptr::NonNull;

/// A slot of one table, in another that outlives it.
fn a_slot_of_another_table(table: &Roots) {
    let other = Roots::default();
    table.recycle(other.add(NonNull::dangling()).unwrap());
}

/// A guard that is counted in a local state of somebody else.
fn a_guard_for_another(heap: &Heap<Plain>, engine: &Engine<Blocks>) {
    heap.world().each(&mut |local| {
        engine.enter(local, || ());
    });
}

/// A local state with a cache of another space.
fn a_cache_of_another_space(heap: &Heap<Plain>, space: &Blocks) {
    heap.world().join(space, |_| ()).unwrap();
    heap.world().place(space).unwrap();
}

fn main() {}
