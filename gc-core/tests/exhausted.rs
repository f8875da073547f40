//! Out of memory at any allocation is a value, and leaves a usable heap.

mod common;

use common::checked;
use gc_core::{GcCell, Heap, Slice, Trace, space::blocks::Blocks, world::threads::Threads};

gc_core::tag! {
    struct Small;
}

#[derive(Debug, Trace)]
#[trace(heap = Small)]
struct Node<'g> {
    words: [u64; 16],
    next: GcCell<'g, Node<'g>, Small>,
}

const LIMIT: usize = 4 << 20;

#[test]
fn a_full_heap_refuses_and_goes_on_after_a_collection() {
    let heap = Heap::<Small>::builder()
        .checkmark(true)
        .build(Blocks::with_limit(LIMIT), Threads::new())
        .unwrap();
    let kept = {
        let guard = heap.enter();
        let mut last = guard.alloc(Node { words: [1; 16], next: GcCell::null() });
        let refused = loop {
            match guard.try_alloc(Node { words: [2; 16], next: GcCell::new(Some(last)) }) {
                Ok(node) => last = node,
                Err(refused) => break refused.into_inner(),
            }
        };
        assert_eq!(refused.words, [2; 16], "the value comes back");
        assert!(guard.try_alloc_slice(vec![0u8; 1 << 20]).is_err(), "a large object as well");
        guard.root(last)
    };
    assert!(heap.is_requested(), "a refusal asks for a collection");
    assert!(heap.usage().held_bytes <= LIMIT);

    heap.collect().unwrap();
    {
        let guard = heap.enter();
        assert!(guard.try_alloc(Node { words: [3; 16], next: GcCell::null() }).is_err());
        assert_eq!(kept.get(&guard).words, [2; 16]);
    }
    drop(kept);
    heap.collect().unwrap();
    let guard = heap.enter();
    for _ in 0..1000 {
        guard.alloc(Node { words: [3; 16], next: GcCell::null() });
    }
}

#[test]
fn a_limit_at_any_block_leaves_a_usable_heap() {
    gc_core::tag! { struct Varied; }
    for limit in (0..3 << 20).step_by(100_003) {
        let space = Blocks::with_limit(limit);
        let heap = Heap::<Varied>::builder().checkmark(true).build(space, Threads::new()).unwrap();
        {
            let guard = heap.enter();
            for size in 0..40 {
                // Whichever of these is refused, the others go on.
                let _ = guard.try_alloc_slice(vec![1u8; 1 << (size % 18)]);
                let _ = guard.try_alloc([size; 4]);
            }
        }
        heap.collect().unwrap();
        heap.space().set_limit(usize::MAX);
        let guard = heap.enter();
        assert_eq!(*guard.alloc(5u8), 5);
    }
}

#[test]
fn a_slice_of_nothing_takes_no_more_than_its_length() {
    gc_core::tag! { struct Long; }
    let heap = checked::<Long>();
    let guard = heap.enter();
    let units = guard.alloc_slice(vec![(); 1_000_000]);
    assert_eq!(units.len(), 1_000_000);
    assert!(heap.live_bytes() < 100);
    let empty: gc_core::Gc<'_, Slice<u64>, Long> = guard.alloc_slice([]);
    assert!(empty.is_empty() && empty.as_slice().is_empty());
}

#[test]
fn large_objects_come_and_go() {
    gc_core::tag! { struct Large; }
    let heap = checked::<Large>();
    for _ in 0..20 {
        let guard = heap.enter();
        let big = guard.alloc_slice(vec![7u8; 3 << 20]);
        assert!(big.as_slice().iter().all(|byte| *byte == 7));
        drop(guard);
        heap.collect().unwrap();
        assert_eq!(heap.usage().held_bytes, 0);
    }
}

/// A space that has no cell for the n-th that is asked for, whatever it is.
mod failing {
    use gc_core::{
        space::{Exhausted, Kind, Marked, Space, Taken, Usage, blocks::Blocks},
        world::threads::Threads,
    };
    use std::{
        ptr::NonNull,
        sync::atomic::{AtomicUsize, Ordering},
    };

    pub(super) struct Failing {
        blocks: Blocks,
        /// Cells until the one that is refused.
        left: AtomicUsize,
    }

    impl Failing {
        pub(super) fn at(n: usize) -> Self {
            Self { blocks: Blocks::poisoned(), left: AtomicUsize::new(n) }
        }

        pub(super) fn has_failed(&self) -> bool {
            self.left.load(Ordering::Relaxed) == 0
        }
    }

    // SAFETY: as `Blocks`; it may refuse at any time.
    unsafe impl Space for Failing {
        type Cache = <Blocks as Space>::Cache;

        fn cache(&self) -> Result<Self::Cache, Exhausted> {
            self.blocks.cache()
        }

        unsafe fn take(
            &self,
            cache: &mut Self::Cache,
            kind: &'static Kind,
            bytes: usize,
            cycle: u64,
        ) -> Result<Taken, Exhausted> {
            let one_less = |left: usize| left.checked_sub(1);
            let order = Ordering::Relaxed;
            if self.left.fetch_update(order, order, one_less) == Ok(1) {
                return Err(Exhausted);
            }
            // SAFETY: the caller's.
            unsafe { self.blocks.take(cache, kind, bytes, cycle) }
        }

        unsafe fn kind(&self, cell: NonNull<u8>) -> &'static Kind {
            // SAFETY: the caller's.
            unsafe { self.blocks.kind(cell) }
        }

        unsafe fn bytes(&self, cell: NonNull<u8>) -> usize {
            // SAFETY: the caller's.
            unsafe { self.blocks.bytes(cell) }
        }

        unsafe fn mark(&self, cell: NonNull<u8>) -> Option<Marked> {
            // SAFETY: the caller's.
            unsafe { self.blocks.mark(cell) }
        }

        unsafe fn is_marked(&self, cell: NonNull<u8>) -> bool {
            // SAFETY: the caller's.
            unsafe { self.blocks.is_marked(cell) }
        }

        unsafe fn is_of_cycle(&self, cell: NonNull<u8>, cycle: u64) -> bool {
            // SAFETY: the caller's.
            unsafe { self.blocks.is_of_cycle(cell, cycle) }
        }

        unsafe fn open(&self, cycle: u64) {
            // SAFETY: the caller's.
            unsafe { self.blocks.open(cycle) }
        }

        unsafe fn permit(&self) {
            // SAFETY: the caller's.
            unsafe { self.blocks.permit() }
        }

        fn sweep(&self, spans: usize) -> bool {
            self.blocks.sweep(spans)
        }

        fn destruct(&self, each: &mut dyn FnMut(NonNull<u8>, &'static Kind)) -> usize {
            self.blocks.destruct(each)
        }

        unsafe fn marked(
            &self,
            place: usize,
            each: &mut dyn FnMut(NonNull<u8>, &'static Kind),
        ) -> Option<usize> {
            // SAFETY: the caller's.
            unsafe { self.blocks.marked(place, each) }
        }

        fn usage(&self) -> Usage {
            self.blocks.usage()
        }
    }

    #[derive(Debug)]
    pub(super) struct Fails;

    // SAFETY: the claim is a static of its own.
    unsafe impl gc_core::Tag for Fails {
        type Space = Failing;
        type World = Threads<Failing>;

        fn claim() -> &'static gc_core::Claim {
            static CLAIM: gc_core::Claim = gc_core::Claim::new();
            &CLAIM
        }
    }
}

/// Every way to ask for a cell, with each of the requests refused once: what was passed in comes back,
/// nothing is lost, and everything goes on.
#[test]
fn a_refusal_at_any_request_gives_back_and_leaves_a_usable_heap() {
    use failing::{Failing, Fails};
    use gc_core::{Gc, GcMutex, GcOnce, Str, Weak};
    use std::sync::Arc;

    #[derive(Trace)]
    #[trace(heap = Fails)]
    struct Full<'g> {
        #[leaf]
        #[expect(dead_code, reason = "its destructor is what counts")]
        count: Arc<()>,
        name: Option<Gc<'g, Str, Fails>>,
        list: GcCell<'g, Slice<u64>, Fails>,
        locked: GcMutex<Vec<Gc<'g, Full<'g>, Fails>>, Fails>,
        once: GcOnce<Gc<'g, u64, Fails>, Fails>,
        weak: GcCell<'g, Weak<'g, Full<'g>, Fails>, Fails>,
    }

    let mut refused = 0;
    for n in 1.. {
        let heap = Heap::<Fails>::builder().checkmark(true);
        let heap = heap.build(Failing::at(n), Threads::new()).unwrap();
        let count = Arc::new(());
        let mut kept = Vec::new();
        for _ in 0..3 {
            let guard = heap.enter();
            let name = guard.try_alloc_str("name").ok();
            let made = guard.try_alloc(Full {
                count: count.clone(),
                name,
                list: GcCell::null(),
                locked: GcMutex::default(),
                once: GcOnce::new(),
                weak: GcCell::null(),
            });
            let node = match made {
                Ok(node) => node,
                Err(value) => {
                    assert!(value.into_inner().name.is_some_and(|name| name.as_str() == "name"));
                    continue;
                }
            };
            match guard.try_alloc_slice(vec![1, 2, 3]) {
                Ok(list) => node.list.set(&guard, Some(list)),
                Err(items) => assert_eq!(items.into_inner(), [1, 2, 3]),
            }
            match guard.try_downgrade(node) {
                Ok(weak) => node.weak.set(&guard, Some(weak)),
                Err(object) => assert!(object.into_inner() == node),
            }
            match guard.try_alloc(7u64) {
                Ok(seven) => assert!(node.once.set(&guard, seven).is_ok()),
                Err(value) => assert_eq!(value.into_inner(), 7),
            }
            node.locked.lock(&guard).push(node);
            kept.push(guard.root(node));
        }
        heap.collect().unwrap();
        heap.run_destructors(usize::MAX);
        assert_eq!(Arc::strong_count(&count), 1 + kept.len(), "the others were dropped");
        let failed = heap.space().has_failed();
        refused += usize::from(failed);
        {
            let guard = heap.enter();
            for root in &kept {
                let node = root.get(&guard).get();
                assert!(node.name.is_none_or(|name| name.as_str() == "name"));
                assert!(node.list.load().is_none_or(|list| list.as_slice() == [1, 2, 3]));
                let up = node.weak.load().map(|weak| weak.upgrade(&guard).expect("it is rooted"));
                assert!(up.is_none_or(|up| up == root.get(&guard)));
                assert!(node.once.get().is_none_or(|seven| **seven == 7));
                assert_eq!(node.locked.lock(&guard).len(), 1);
            }
        }
        drop(kept);
        heap.collect().unwrap();
        heap.run_destructors(usize::MAX);
        heap.collect().unwrap();
        assert_eq!((Arc::strong_count(&count), heap.usage().spans), (1, 0));
        if !failed {
            break;
        }
    }
    assert_eq!(refused, 3 * 5, "each request of a full run was refused once");
}
