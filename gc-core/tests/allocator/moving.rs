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
    env,
    os::unix::process::ExitStatusExt,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    thread::Thread,
    time::Duration,
};

/// Places where mutators run. The task is at the next one each time that it was held up.
#[derive(Default)]
struct Moves {
    places: [Threads; 3],
    moved: AtomicUsize,
}

impl Moves {
    fn at(&self) -> &Threads {
        &self.places[self.moved.load(Ordering::Relaxed)]
    }
}

// SAFETY: each place promises it, and there is one task, which is moved outside of `with`. The barriers are the
// default.
unsafe impl World<Blocks> for Moves {
    unsafe fn join<R>(
        &self,
        space: &Blocks,
        f: impl FnOnce(&Local<Blocks>) -> R,
    ) -> Result<R, Exhausted> {
        // SAFETY: the caller's.
        unsafe { self.at().join(space, f) }
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
        self.moved.fetch_add(1, Ordering::Relaxed);
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

/// Calls `enter` once in a cycle that holds guards up, so that each moves.
fn moved<R>(mut enter: impl FnMut(&Heap<Moved>) -> R) -> (Heap<Moved>, Option<R>) {
    let heap = Heap::<Moved>::builder().pacer(Every(1 << 16));
    let heap = heap.build(Blocks::new(), Moves::default()).unwrap();
    // So much that guards are held up.
    for _ in 0..1_000 {
        heap.enter().alloc([0u8; 1 << 10]);
    }
    let mut entered = None;
    heap.collect_with(|pause| {
        if pause == Pause::Slice && entered.is_none() {
            entered = Some(enter(&heap));
            assert_ne!(heap.world().moved.swap(0, Ordering::Relaxed), 0, "nothing held it up");
        }
    })
    .unwrap();
    (heap, entered)
}

#[test]
fn a_guard_after_a_move_is_refused_with_a_value() {
    let _turn = turn();
    let (heap, entered) = moved(|heap| without(0, 0, || heap.try_enter().map(drop)).0);
    assert_eq!(entered, Some(Err(HeapError::Memory)));
    assert_eq!(heap.world().places[1].members(), 0);
}

/// Whether this process is the child of the test below.
const REPINS: &str = "MOVING_REPINS";

/// Were it to panic, whoever caught that would have a guard that counts for nobody.
#[test]
fn a_repin_that_is_refused_ends_the_process() {
    if env::var_os(REPINS).is_some() {
        let _turn = turn();
        let _ = moved(|heap| {
            let mut guard = heap.enter();
            let repin = AssertUnwindSafe(|| guard.repin());
            catch_unwind(AssertUnwindSafe(|| without(0, 0, repin).0)).is_err()
        });
        return;
    }
    let test = "moving::a_repin_that_is_refused_ends_the_process";
    let mut child = Command::new(env::current_exe().expect("a test knows where it is"));
    let child = child.args([test, "--exact", "--nocapture"]).env(REPINS, "1").output();
    let child = child.expect("a test can be run again");
    let said = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.signal(), Some(6), "{said}");
    assert!(said.contains("by `repin` cannot be counted in again"), "{said}");
}
