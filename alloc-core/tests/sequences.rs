//! Random sequences of calls, given to three threads that take turns in a random order, against a plain
//! model: which blocks live, where, with which contents, and in which thread's hands.
//!
//! The turns are handed from thread to thread, so a sequence that fails is found again and shrinks to the few
//! calls that matter; the stress (`stress.rs`) is for what only happens at once.

use std::{
    alloc::Layout,
    collections::BTreeMap,
    ops::Range,
    ptr::NonNull,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use alloc_core::{
    Cache, Heap,
    page_heap::{PageHeap, Radix, Treap},
    pages::{PageSource, os::Os, with::With},
    scavenge::Eager,
};
use proptest::prelude::*;

const THREADS: usize = 3;

/// A call, and which of the live blocks it is about, counted modulo how many there are.
#[derive(Clone, Debug)]
enum Call {
    Alloc { size: usize, align: usize, zeroed: bool },
    Realloc { block: usize, size: usize },
    Free { block: usize },
    FreeWithoutCache { block: usize },
    Flush,
    NewCache,
    Release,
    Scavenge,
}

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        6 => 0..300_usize,
        3 => 300..9_000_usize,
        2 => 30_000..36_000_usize,
        2 => Just(32_768_usize),
        1 => 36_000..400_000_usize,
    ]
}

/// Rarely one beyond 2 MiB, which no cache of large blocks keeps, or beyond an arena of 64 MiB.
fn all_sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        60 => sizes(),
        2 => (2_usize << 20)..(6 << 20),
        1 => (60_usize << 20)..(80 << 20),
    ]
}

fn calls() -> impl Strategy<Value = Call> {
    let align = prop_oneof![
        40 => Just(8_usize),
        20 => (0..14_u32).prop_map(|n| 1 << n),
        10 => Just(32_768_usize),
        1 => (14..=26_u32).prop_map(|n| 1 << n),
    ];
    let block = || 0..usize::MAX;
    prop_oneof![
        10 => (all_sizes(), align, any::<bool>())
            .prop_map(|(size, align, zeroed)| Call::Alloc { size, align, zeroed }),
        4 => (block(), all_sizes())
            .prop_map(|(block, size)| Call::Realloc { block, size: size.max(1) }),
        7 => block().prop_map(|block| Call::Free { block }),
        2 => block().prop_map(|block| Call::FreeWithoutCache { block }),
        1 => Just(Call::Flush),
        1 => Just(Call::NewCache),
        1 => Just(Call::Release),
        2 => Just(Call::Scavenge),
    ]
}

/// The model: live blocks by address, with their layout and the byte that fills them.
#[derive(Default)]
struct Model {
    live: BTreeMap<usize, (Layout, u8)>,
    calls: usize,
}

impl Model {
    fn pick(&self, block: usize) -> Option<(NonNull<u8>, Layout, u8)> {
        let n = block.checked_rem(self.live.len())?;
        let (&at, &(layout, fill)) = self.live.iter().nth(n)?;
        Some((NonNull::new(at as *mut u8).unwrap(), layout, fill))
    }

    /// Enters a block, which must not touch its neighbours, and fills it.
    fn enter(&mut self, at: NonNull<u8>, layout: Layout) {
        let (start, end) = (at.as_ptr() as usize, at.as_ptr() as usize + layout.size().max(1));
        assert_eq!(start % layout.align(), 0, "{layout:?}");
        if let Some((below, (other, _))) = self.live.range(..end).next_back() {
            assert!(below + other.size().max(1) <= start, "{layout:?} at {at:p} over {other:?}");
        }
        let fill = (self.calls * 37 + 1) as u8;
        for part in parts(layout.size()) {
            // SAFETY: the block is the test's, and the part lies in it.
            unsafe { at.add(part.start).write_bytes(fill, part.len()) };
        }
        self.live.insert(start, (layout, fill));
    }

    /// Takes a block out; its first `bytes` bytes must be what was written.
    fn leave(&mut self, at: NonNull<u8>) {
        let (layout, fill) = self.live.remove(&(at.as_ptr() as usize)).unwrap();
        assert_filled(at, layout.size(), fill);
    }
}

/// Bytes at either end of a large block that are written and read; the middle would cost its page faults.
const END: usize = 64 << 10;

/// What is written of a block of so many bytes.
fn parts(size: usize) -> [Range<usize>; 2] {
    [0..size.min(END), size.saturating_sub(END).max(size.min(END))..size]
}

/// The first `bytes` bytes of a block of `size` are `fill`, as far as such are written.
fn assert_prefix(at: NonNull<u8>, size: usize, bytes: usize, fill: u8) {
    for part in parts(size) {
        let part = part.start.min(bytes)..part.end.min(bytes);
        // SAFETY: the block is the test's, and all of the part was written or zeroed.
        let read = unsafe { std::slice::from_raw_parts(at.add(part.start).as_ptr(), part.len()) };
        assert!(read.iter().all(|&byte| byte == fill), "{part:?} of {at:p}");
    }
}

fn assert_filled(at: NonNull<u8>, bytes: usize, fill: u8) {
    assert_prefix(at, bytes, bytes, fill);
}

fn call<S: PageSource>(
    heap: &'static Heap<S>,
    cache: &mut Cache<'static, S>,
    model: &mut Model,
    call: &Call,
) {
    model.calls += 1;
    match *call {
        Call::Alloc { size, align, zeroed } => {
            let layout = Layout::from_size_align(size, align).unwrap();
            let at = if zeroed { cache.alloc_zeroed(layout) } else { cache.alloc(layout) }.unwrap();
            if zeroed {
                assert_filled(at, size, 0);
            }
            model.enter(at, layout);
        }
        Call::Realloc { block, size } => {
            let Some((at, layout, fill)) = model.pick(block) else { return };
            model.leave(at);
            // SAFETY: the block is live and has that layout.
            let moved = unsafe { cache.realloc(at, layout, size) }.unwrap();
            assert_prefix(moved, layout.size(), layout.size().min(size), fill);
            model.enter(moved, Layout::from_size_align(size, layout.align()).unwrap());
        }
        Call::Free { block } => {
            let Some((at, ..)) = model.pick(block) else { return };
            model.leave(at);
            // SAFETY: the block is live, and not used any more.
            unsafe { cache.free(at) };
        }
        Call::FreeWithoutCache { block } => {
            let Some((at, ..)) = model.pick(block) else { return };
            model.leave(at);
            // SAFETY: as above.
            unsafe { heap.free(at) };
        }
        Call::Flush => cache.flush(),
        Call::NewCache => *cache = heap.cache(),
        Call::Release => drop(heap.release()),
        // Holes between live blocks, now and then filled again.
        Call::Scavenge => drop(heap.scavenger(Eager).map(|mut one| one.step(Duration::ZERO))),
    }
}

/// A thread with a cache: does a call whenever it is handed the model, and hands it back.
fn serve<S: PageSource>(
    heap: &'static Heap<S>,
    orders: Receiver<(Model, Call)>,
    done: Sender<Model>,
) {
    let mut cache = heap.cache();
    for (mut model, order) in orders {
        call(heap, &mut cache, &mut model, &order);
        done.send(model).unwrap();
    }
}

fn run<P: PageHeap + 'static>(calls: Vec<(usize, Call)>) {
    let heap: &'static Heap<_> = Box::leak(Box::new(Heap::new(With::<P, Os>::new(Os::new()))));
    let mut model = Model::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (order, orders) = channel();
                let (done, finished) = channel();
                scope.spawn(move || serve(heap, orders, done));
                (order, finished)
            })
            .collect();
        for (thread, order) in calls {
            let (orders, finished) = &threads[thread];
            orders.send((std::mem::take(&mut model), order)).unwrap();
            model = finished.recv().expect("the thread found the heap as the model has it");
        }
    });
    while let Some((at, ..)) = model.pick(0) {
        model.leave(at);
        // SAFETY: live, and freed once.
        unsafe { heap.free(at) };
    }
    heap.release();
    let stats = heap.stats();
    assert_eq!((stats.small, stats.large, stats.free), (0, 0, 0), "{stats:?}");
}

fn sequences() -> impl Strategy<Value = Vec<(usize, Call)>> {
    prop::collection::vec((0..THREADS, calls()), 1..400)
}

proptest! {
    #[test]
    fn the_heap_does_what_the_model_says(calls in sequences()) {
        run::<Radix>(calls);
    }

    #[test]
    fn a_heap_over_the_treap_does_so_too(calls in sequences()) {
        run::<Treap>(calls);
    }
}
