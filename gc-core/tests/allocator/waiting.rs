//! To wait, and to wake who does, takes no memory.

use crate::{Poor, heap, refusing::without, turn};
use gc_core::{CleanupQueue, GcRwLock, HeapError, Root};
use std::{
    fs,
    sync::atomic::{AtomicI32, Ordering},
    thread,
};

#[test]
fn a_writer_waits_and_is_woken() {
    let _turn = turn();
    let heap = heap();
    let lock: Root<GcRwLock<u64, Poor>, Poor> =
        heap.enter().root(heap.enter().alloc(GcRwLock::new(0u64)));
    let write = || {
        let guard = heap.enter();
        let lock = lock.get(&guard);
        without(0, 0, || *lock.write(&guard) += 1).1
    };
    thread::scope(|scope| {
        let guard = heap.enter();
        let lock = lock.get(&guard);
        let reads = lock.read(&guard);
        let writers = [scope.spawn(write), scope.spawn(write)];
        // A reader gives way to a writer that waits.
        while lock.try_read(&guard).is_some() {
            thread::yield_now();
        }
        assert_eq!(without(0, 0, || drop(reads)).1, 0);
        assert_eq!(writers.map(|writer| writer.join().unwrap()), [0, 0]);
        assert_eq!(*lock.read(&guard), 2);
    });
}

/// Whether the kernel says that the thread sleeps.
fn sleeps(thread: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
    // Behind its name, which may hold anything.
    stat.rsplit_once(") ").unwrap().1.starts_with('S')
}

#[test]
fn a_taker_waits_and_is_woken() {
    let _turn = turn();
    let heap = heap();
    let (queue, taker) = (CleanupQueue::new(&heap), AtomicI32::new(0));
    queue.register(&heap.enter(), heap.enter().alloc(7u64), 7);
    let take = || {
        drop(heap.enter());
        // SAFETY: it only tells a number.
        taker.store(unsafe { libc::gettid() }, Ordering::Relaxed);
        without(0, 0, || queue.take())
    };
    thread::scope(|scope| {
        let takes = scope.spawn(take);
        let waits = |thread| thread != 0 && sleeps(thread);
        while !waits(taker.load(Ordering::Relaxed)) {
            thread::yield_now();
        }
        heap.collect().unwrap();
        assert_eq!(takes.join().unwrap(), (Ok::<_, HeapError>(7), 0));
    });
}
