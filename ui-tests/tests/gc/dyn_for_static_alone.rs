//! An implementation for `'static` alone would believe that what it is given lives for ever.

use std::sync::Mutex;

use gc_core::{Gc, Heap, Plain, Root, Trace, rebind_dyn, unsize};

trait Visit<'g>: Trace {
    fn put(&self, value: Gc<'g, u64>);
}
rebind_dyn!(Visit<'_>);

static STASH: Mutex<Option<Gc<'static, u64>>> = Mutex::new(None);

#[derive(Trace)]
struct Leaf(u64);

impl Visit<'static> for Leaf {
    fn put(&self, value: Gc<'static, u64>) {
        *STASH.lock().unwrap() = Some(value);
    }
}

fn main() {
    let heap = Heap::<Plain>::new().unwrap();
    let root: Root<dyn Visit<'static>> = {
        let guard = heap.enter();
        let leaf = guard.alloc(Leaf(1));
        guard.root(unsize!(leaf => dyn Visit<'static>))
    };
    let guard = heap.enter();
    root.get(&guard).put(guard.alloc(7));
}
