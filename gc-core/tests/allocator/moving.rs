//! A task that is set aside before its guard, and comes back where it has no part in the heap.

use crate::{refusing::without, turn};
use gc_core::{
    Claim, Heap, HeapError, Tag,
    cycle::Pause,
    local::Local,
    pacer::Every,
    space::{Exhausted, blocks::Blocks},
    world::{Nesting, World, threads::Threads},
};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::Thread,
    time::Duration,
};

/// Two places where mutators run. The task is at the second one after it was held up.
#[derive(Default)]
struct Moves {
    places: [Threads; 2],
    moved: AtomicBool,
}

impl Moves {
    fn at(&self) -> &Threads {
        &self.places[usize::from(self.moved.load(Ordering::Relaxed))]
    }
}

// SAFETY: each place promises it, and there is one task, which is moved outside of `with`. The barriers are the
// default.
unsafe impl World<Blocks> for Moves {
    unsafe fn join(&self, space: &Blocks) -> Result<(), Exhausted> {
        // SAFETY: the caller's.
        unsafe { self.at().join(space) }
    }

    unsafe fn with<R>(&self, space: &Blocks, f: impl FnOnce(&Local<Blocks>) -> R) -> R {
        // SAFETY: the caller's.
        unsafe { self.at().with(space, f) }
    }

    fn each(&self, f: &mut dyn FnMut(&Local<Blocks>)) {
        self.places.iter().for_each(|place| World::each(place, f));
    }

    fn nesting<R>(&self, f: impl FnOnce(&Nesting) -> R) -> R {
        self.at().nesting(f)
    }

    fn outrun(&self) -> bool {
        self.moved.store(true, Ordering::Relaxed);
        false
    }

    fn nap(&self, time: Duration) {
        self.at().nap(time);
    }

    type Waiter = Thread;

    fn waiter(&self) -> Thread {
        self.at().waiter()
    }

    fn park(&self) {
        self.at().park();
    }

    fn unpark(&self, waiter: &Thread) {
        self.at().unpark(waiter);
    }
}

#[derive(Debug)]
struct Moved;

// SAFETY: the claim is a static of its own.
unsafe impl Tag for Moved {
    type Space = Blocks;
    type World = Moves;

    fn claim() -> &'static Claim {
        static CLAIM: Claim = Claim::new();
        &CLAIM
    }
}

#[test]
fn a_guard_after_a_move_is_refused_with_a_value() {
    let _turn = turn();
    let heap = Heap::<Moved>::builder().pacer(Every(1 << 16));
    let heap = heap.build(Blocks::new(), Moves::default()).unwrap();
    // So much that guards are held up.
    for _ in 0..1_000 {
        heap.enter().alloc([0u8; 1 << 10]);
    }
    let mut entered = None;
    heap.collect_with(|pause| {
        if pause == Pause::Slice && entered.is_none() {
            entered = Some(without(0, 0, || heap.try_enter().map(drop)).0);
            assert!(heap.world().moved.swap(false, Ordering::Relaxed), "nothing held it up");
        }
    })
    .unwrap();
    assert_eq!(entered, Some(Err(HeapError::Memory)));
    assert_eq!(heap.world().places[1].members(), 0);
}
