//! crossbeam-epoch, with mimalloc: the same two structures, and the code that says what may be freed; and
//! the ordered map of its family.

use std::sync::atomic::Ordering;

use bench_gc::Mutators;
use bench_gc::maps::OrderedMap;
use bench_gc::shared::Shared;
use crossbeam_epoch::{self as epoch, Atomic, Owned, Shared as Pointer};
use crossbeam_skiplist::SkipMap;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let request = harness::Request::from_args("epoch");
    let known = bench_gc::shared::run(&request, &Epoch::new())
        || bench_gc::maps::run_map(&request, &Ordered(SkipMap::new()));
    if !known {
        request.unknown();
    }
}

struct Epoch {
    top: Atomic<Below>,
    head: Atomic<Behind>,
    tail: Atomic<Behind>,
}

struct Below {
    value: u64,
    below: Atomic<Below>,
}

struct Behind {
    value: u64,
    next: Atomic<Behind>,
}

impl Epoch {
    fn new() -> Self {
        let peer = Self { top: Atomic::null(), head: Atomic::null(), tail: Atomic::null() };
        let guard = &epoch::pin();
        let taken = Owned::new(Behind { value: 0, next: Atomic::null() }).into_shared(guard);
        peer.head.store(taken, Ordering::Release);
        peer.tail.store(taken, Ordering::Release);
        peer
    }
}

impl Mutators for Epoch {
    fn mutate(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        bench_gc::on_threads(count, work);
    }
}

impl Shared for Epoch {
    fn push(&self, value: u64) {
        let guard = &epoch::pin();
        let mut node = Owned::new(Below { value, below: Atomic::null() });
        let mut below = self.top.load(Ordering::Acquire, guard);
        loop {
            node.below.store(below, Ordering::Relaxed);
            let exchange =
                self.top.compare_exchange(below, node, Ordering::AcqRel, Ordering::Acquire, guard);
            match exchange {
                Ok(_) => return,
                Err(error) => (below, node) = (error.current, error.new),
            }
        }
    }

    fn pop(&self) -> Option<u64> {
        let guard = &epoch::pin();
        loop {
            let top = self.top.load(Ordering::Acquire, guard);
            // SAFETY: null, or a node that the guard keeps.
            let node = unsafe { top.as_ref() }?;
            let below = node.below.load(Ordering::Relaxed, guard);
            let exchange =
                self.top.compare_exchange(top, below, Ordering::AcqRel, Ordering::Acquire, guard);
            if exchange.is_ok() {
                // SAFETY: taken out of the stack, by this thread alone.
                unsafe { guard.defer_destroy(top) };
                return Some(node.value);
            }
        }
    }

    fn put(&self, value: u64) {
        let guard = &epoch::pin();
        let node = Owned::new(Behind { value, next: Atomic::null() }).into_shared(guard);
        loop {
            let tail = self.tail.load(Ordering::Acquire, guard);
            // SAFETY: never null, and the guard keeps it.
            let next = &unsafe { tail.deref() }.next;
            let exchange = next.compare_exchange(
                Pointer::null(),
                node,
                Ordering::AcqRel,
                Ordering::Acquire,
                guard,
            );
            let behind = match exchange {
                Ok(_) => node,
                Err(ref error) => error.current,
            };
            // Whoever fails has been helped.
            let _ = self.tail.compare_exchange(
                tail,
                behind,
                Ordering::AcqRel,
                Ordering::Acquire,
                guard,
            );
            if exchange.is_ok() {
                return;
            }
        }
    }

    fn take(&self) -> Option<u64> {
        let guard = &epoch::pin();
        loop {
            let head = self.head.load(Ordering::Acquire, guard);
            // SAFETY: never null, and the guard keeps it.
            let first = unsafe { head.deref() }.next.load(Ordering::Acquire, guard);
            // SAFETY: null, or likewise.
            let value = unsafe { first.as_ref() }?.value;
            if self.tail.load(Ordering::Acquire, guard) == head {
                let _ = self.tail.compare_exchange(
                    head,
                    first,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                    guard,
                );
            }
            let exchange =
                self.head.compare_exchange(head, first, Ordering::AcqRel, Ordering::Acquire, guard);
            if exchange.is_ok() {
                // SAFETY: taken out of the queue, by this thread alone; the tail has passed it.
                unsafe { guard.defer_destroy(head) };
                return Some(value);
            }
        }
    }
}

struct Ordered(SkipMap<u64, u64>);

impl Mutators for Ordered {
    fn mutate(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        bench_gc::on_threads(count, work);
    }
}

impl OrderedMap for Ordered {
    fn insert(&self, key: u64, value: u64) {
        self.0.insert(key, value);
    }

    fn remove(&self, key: u64) -> bool {
        self.0.remove(&key).is_some()
    }

    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key).map(|entry| *entry.value())
    }
}
