//! Whoever looks at a heap for a diagnosis finds no memory.

use crate::{
    Kept, ask, check, heap,
    refusing::{held, without},
    turn,
};
use gc_core::{CleanupQueue, HeapError};
use std::fmt::{self, Write};

/// Takes what is written, and keeps none of it.
struct Nowhere;

impl Write for Nowhere {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        Ok(())
    }
}

#[test]
fn a_dump_without_memory_is_refused() {
    let _turn = turn();
    let (heap, mut kept) = (heap(), Kept::with_capacity(200));
    let queue = CleanupQueue::new(&heap);
    {
        let guard = heap.enter();
        ask(&guard, &queue, &mut kept);
        let objects = guard.dump().objects().len();
        let last = kept.last().unwrap().get(&guard).as_ptr().addr();
        let dump = (0..).find_map(|n| {
            let before = held();
            match without(n, 0, || guard.try_dump()) {
                (Ok(dump), refused) => {
                    assert!(refused == 0 && n > 10, "{refused} refused of {n}");
                    Some(dump)
                }
                (refused, _) => {
                    assert_eq!((refused.err(), held()), (Some(HeapError::Memory), before));
                    None
                }
            }
        });
        let dump = dump.unwrap();
        assert_eq!((dump.objects().len(), dump.roots()), (objects, kept.len()));
        let shown = without(0, 0, || (write!(Nowhere, "{dump}"), dump.types().len()));
        assert_eq!(shown, ((Ok(()), 2), 0), "nodes and weak pointers");
        assert_eq!(without(0, 0, || dump.try_path(last)).0, Err(HeapError::Memory));
        assert_eq!(without(0, 0, || dump.try_path(0)), (Ok(None), 0));
        assert!(dump.path(last).is_some());
    }
    check(&heap, &queue, kept);
}

/// What the cycle asks for is refused as well, and not missed.
#[test]
fn a_checkmark_without_memory_says_so() {
    let _turn = turn();
    let (heap, mut kept) = (heap(), Kept::with_capacity(200));
    let queue = CleanupQueue::new(&heap);
    ask(&heap.enter(), &queue, &mut kept);
    let alive = heap.collect().unwrap();
    assert!(alive.checked);
    let mut unchecked = 0;
    for n in 0.. {
        let (record, refused) = without(n, 0, || heap.collect().unwrap());
        assert!(record.checked || refused > 0, "there was memory");
        assert_eq!(record.marked_objects, alive.marked_objects);
        unchecked += u32::from(!record.checked);
        if refused == 0 {
            break;
        }
    }
    assert!(unchecked > 5, "{unchecked} were not done");
    heap.set_checkmark(false);
    assert!(!heap.collect().unwrap().checked);
    heap.set_checkmark(true);
    check(&heap, &queue, kept);
}
