//! A heap, and what belongs to one, that there is no memory for.

use crate::{
    Kept, Poor, ask, check,
    refusing::{held, without},
    turn,
};
use gc_core::{
    CleanupQueue, Collector, Heap, HeapError,
    pacer::{Every, Facts, Pacer, Target},
    space::blocks::Blocks,
    world::threads::Threads,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A pacer of some size.
struct Large {
    every: Every,
    _bytes: [u64; 8],
}

impl Large {
    fn new() -> Self {
        Large { every: Every(1 << 20), _bytes: [0; 8] }
    }
}

impl Pacer for Large {
    fn first(&self) -> Target {
        self.every.first()
    }

    fn next(&mut self, facts: Facts) -> Target {
        self.every.next(facts)
    }
}

/// Calls `f` with its n-th request refused, and all after it, for every n, until none is; `f` has to fail if one was,
/// and then leaves nothing behind.
fn each_refused<T, E: PartialEq + std::fmt::Debug>(
    refusal: E,
    mut f: impl FnMut() -> Result<T, E>,
) -> T {
    for n in 0.. {
        let before = held();
        let (made, refused) = without(n, 0, &mut f);
        match made {
            Ok(made) => {
                assert!(refused == 0 && n > 0, "{refused} refused of {n}");
                return made;
            }
            Err(error) => assert_eq!((error == refusal, refused != 0), (true, true), "{error:?}"),
        }
        assert_eq!(held(), before, "something leaks after {n} requests");
    }
    unreachable!("there is no end of numbers")
}

/// With what is chosen as well: the builder remembers that there was no room for it.
#[test]
fn a_heap_without_memory_is_refused_and_its_tag_is_free() {
    let _turn = turn();
    let reports = Arc::new(AtomicUsize::new(0));
    let usual =
        || Heap::<Poor>::builder().checkmark(true).build(Blocks::poisoned(), Threads::new());
    let chosen = || {
        let reports = reports.clone();
        let count = move |_: &_| {
            reports.fetch_add(1, Ordering::Relaxed);
        };
        let builder = Heap::<Poor>::builder().checkmark(true);
        let builder = builder.pacer(Large::new()).on_cycle(count);
        builder.build(Blocks::poisoned(), Threads::new())
    };
    for all_chosen in [false, true] {
        let build = || if all_chosen { chosen() } else { usual() };
        let heap = each_refused(HeapError::Memory, build);
        assert_eq!(build().unwrap_err(), HeapError::TagInUse);
        let (queue, mut kept) = (CleanupQueue::new(&heap), Kept::new());
        ask(&heap.enter(), &queue, &mut kept);
        check(&heap, &queue, kept);
        let cycles = usize::try_from(heap.stats().cycles).unwrap();
        let told = reports.load(Ordering::Relaxed);
        assert_eq!(told, if all_chosen { cycles } else { 0 });
    }
}

#[test]
fn a_queue_without_memory_is_refused() {
    let _turn = turn();
    let heap = crate::heap();
    let older = CleanupQueue::new(&heap);
    for _ in 0..10 {
        let queue = each_refused(HeapError::Memory, || CleanupQueue::<u32, _>::try_new(&heap));
        let mut kept = Kept::new();
        ask(&heap.enter(), &older, &mut kept);
        ask(&heap.enter(), &queue, &mut kept);
        check(&heap, &older, kept);
        assert!(queue.watched() == 0 && queue.try_take().is_some());
    }
}

/// What is ours: before std's part, and after it, where the place on a list is larger than anything that std asks for.
#[test]
fn a_collector_without_memory_is_refused() {
    let _turn = turn();
    let heap = crate::heap();
    let is_refused = |started: Result<_, io::Error>| {
        started.map_err(|error| assert_eq!(error.kind(), io::ErrorKind::OutOfMemory)).err()
    };
    for n in 0..2 {
        let before = held();
        assert!(is_refused(without(n, 0, || Collector::start(&heap)).0).is_some(), "{n}");
        assert_eq!(held(), before);
    }
    let mut collectors = Vec::new();
    loop {
        let (started, refused) = without(0, 256, || Collector::start(&heap));
        match started {
            Ok(collector) => collectors.push(collector),
            refusal => {
                assert!(is_refused(refusal).is_some() && refused == 1);
                break;
            }
        }
        assert!(collectors.len() < 100, "nothing is refused");
    }
    drop(collectors);
    let collector = Collector::start(&heap).unwrap();
    heap.request();
    while heap.stats().cycles == 0 {
        thread::yield_now();
    }
    drop(collector);
    let (queue, mut kept) = (CleanupQueue::new(&heap), Kept::new());
    ask(&heap.enter(), &queue, &mut kept);
    check(&heap, &queue, kept);
}

#[test]
fn a_pacer_or_what_a_heap_calls_without_memory_comes_back() {
    let _turn = turn();
    let heap = crate::heap();
    heap.set_pacer(Every(1 << 16));
    let large = Large::new();
    let refused = without(0, 0, || heap.try_set_pacer(large)).0.expect_err("no memory");
    assert_eq!(heap.collect().unwrap().trigger, 1 << 16, "the former one stays");
    assert!(heap.try_set_pacer(refused.into_inner()).is_ok());
    assert_eq!(heap.collect().unwrap().trigger, 1 << 20);
    let called = Arc::new(AtomicUsize::new(0));
    let call = || {
        let count = called.clone();
        move || _ = count.fetch_add(1, Ordering::Relaxed)
    };
    let refused = without(0, 0, || heap.try_on_work(call())).0.expect_err("no memory");
    assert!(heap.try_on_work(refused.into_inner()).is_ok());
    let refused = without(0, 0, || heap.try_set_waker(call())).0.expect_err("no memory");
    heap.request();
    assert_eq!(called.load(Ordering::Relaxed), 0, "there is no former one");
    heap.decline();
    assert!(heap.try_set_waker(refused.into_inner()).is_ok());
    heap.request();
    assert_eq!(called.load(Ordering::Relaxed), 1);
    assert_eq!(Arc::strong_count(&called), 3);
    drop(heap);
    assert_eq!(Arc::strong_count(&called), 1);
}
