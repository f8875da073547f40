//! Every shape of type that the derive takes.

use gc_core::{Gc, GcCell, Heap, Plain, Rebind, Slice, Trace};
use std::{fmt::Debug, marker::PhantomData, sync::Mutex};

#[derive(Trace)]
struct Unit;

#[derive(Trace)]
struct Tuple<'g>(u64, GcCell<'g, Tuple<'g>>, #[leaf] Mutex<Vec<u8>>);

#[derive(Trace)]
enum Tree<'g> {
    Leaf,
    Value(u64),
    Node { left: GcCell<'g, Tree<'g>>, right: Option<Gc<'g, Self>> },
    Many(Vec<Tree<'g>>, Box<[GcCell<'g, Slice<u8>>]>, (u8, GcCell<'g, Slice<GcCell<'g, Self>>>)),
}

#[derive(Trace)]
struct Boxed<'g, T: Debug, const N: usize = 2> {
    values: [T; N],
    next: GcCell<'g, Boxed<'g, T, N>>,
}

#[derive(Trace)]
struct Tagged<T, U> {
    value: T,
    #[leaf]
    tag: PhantomData<U>,
}

#[derive(Trace)]
struct Dropped(String);

impl Drop for Dropped {
    fn drop(&mut self) {}
}

#[derive(Trace)]
enum Never {}

#[test]
fn every_shape_of_type_is_taken() {
    let heap = Heap::<Plain>::new().unwrap();
    let guard = heap.enter();
    guard.alloc(Unit);
    let tuple = guard.alloc(Tuple(1, GcCell::null(), Mutex::default()));
    tuple.1.set(&guard, Some(tuple));
    assert!(tuple.2.lock().unwrap().is_empty());
    let leaf = guard.alloc(Tree::Leaf);
    let node = guard.alloc(Tree::Node { left: GcCell::null(), right: Some(leaf) });
    guard.alloc(Tree::Many(vec![Tree::Value(1)], Box::new([]), (1, GcCell::null())));
    let generic = guard
        .alloc(Boxed { values: [Some(node), None].map(|n| n.is_some()), next: GcCell::null() });
    let _root = guard.root(generic);
    let tagged = guard.alloc(Tagged { value: GcCell::new(Some(leaf)), tag: PhantomData::<u8> });
    let _root = guard.root(tagged);
    guard.alloc(Dropped(String::new()));
    const {
        assert!(!<Tagged<u8, u8>>::EDGES && <Tagged<GcCell<'_, u8>, u8>>::EDGES && !Unit::EDGES);
    }
}
